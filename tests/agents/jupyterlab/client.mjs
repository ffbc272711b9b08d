// Somebody with JupyterLab in a tab: a terminal, a notebook whose kernel works for a while, then a tab that
// is forgotten until the sandbox sleeps under it, and work again.
import { inBrowser } from '../clients/browser.mjs'
import { expect, host, port, sandbox, seconds, staysAwake, step, until, use } from '../clients/stage.mjs'

const base = `http://${host}:${port}`

await inBrowser(async (page) => {
  const api = (path) => page.evaluate(async (path) => {
    const answer = await fetch(`/api/${path}`)
    return answer.ok ? answer.json() : undefined
  }, path)
  const launch = (kind) => page.locator(`.jp-LauncherCard[title*="${kind}"], .jp-LauncherCard:has-text("${kind}")`).first().click()

  await page.goto(`${base}/lab?token=secret&reset`)
  await page.locator('.jp-Launcher').waitFor()
  step('JupyterLab of a sleeping agent: ok')

  // A terminal is a WebSocket to a shell. What it did is read by the API, since it paints on a canvas.
  await launch('Terminal')
  await page.locator('.jp-Terminal .xterm-helper-textarea').waitFor({ state: 'attached' })
  const type = async (text) => {
    await page.locator('.jp-Terminal').click()
    await page.keyboard.type(`${text}\n`)
  }
  const file = (name, content) => until(name, async () => (await api(`contents/${name}?content=1`))?.content === content)
  await until('a shell that answers', async () => {
    await type('echo $((6 * 7)) > answer.txt')
    return (await api('contents/answer.txt?content=1'))?.content === '42\n'
  })
  step('a terminal: ok')
  await use(async (number) => type(`echo ${number} >> numbers.txt`))
  await type('echo end > end.txt')
  await file('end.txt', 'end\n')
  const lines = (await api('contents/numbers.txt?content=1')).content.trim().split('\n')
  expect('every line that was typed arrived, in order', lines.every((line, number) => line === String(number)), true)

  // A notebook's kernel is a WebSocket too.
  await page.keyboard.press('Control+Shift+L')
  await page.locator('.jp-Launcher:visible').waitFor()
  await launch('Python 3')
  const kernel = (state) => page.locator(`.jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status="${state}"]`)
  const enter = async (code) => {
    await page.locator('.jp-Notebook .jp-Cell .cm-content').last().click()
    await page.keyboard.insertText(code)
    await page.keyboard.press('Shift+Enter')
  }
  const output = (text) => page.locator('.jp-OutputArea-output', { hasText: text }).last()
  const run = async (code, text) => {
    await enter(code)
    await output(text).waitFor()
  }
  await kernel('idle').waitFor()
  // JupyterLab may choose its kernel anew at first, and forgets what was asked of the one before.
  await until('a kernel that answers', async () => {
    await enter('print("here I", "am")')
    return output('here I am').waitFor({ timeout: 10_000 }).then(() => true, () => false)
  })
  await run('print("six times seven is", 6 * 7)', 'six times seven is 42')
  await run(`import time\nfor n in range(${seconds}):\n    print(n)\n    time.sleep(1)\nprint("kernel", "done")`, 'kernel done')
  step(`a kernel that worked for ${seconds} s: ok`)
  await staysAwake('a notebook in use')
  await until('the notebook is saved', async () => {
    // It may ask for a name, or whether to overwrite.
    const accept = page.locator('.jp-Dialog .jp-mod-accept')
    if (await accept.isVisible()) await accept.click()
    else await page.keyboard.press('Control+s')
    return JSON.stringify((await api('contents/Untitled.ipynb?content=1')) ?? '').includes('kernel done')
  })

  // The forgotten tab asks for its lists every ten seconds, which wakes the sandbox after each sleep; but it
  // sleeps in between.
  const { epoch } = await sandbox()
  await until('a sleep', async () => (await sandbox()).epoch > epoch)
  step('it sleeps under an idle tab: ok')

  await page.goto(`${base}/lab/tree/Untitled.ipynb?token=secret&reset`)
  await page.locator('.jp-OutputArea-output', { hasText: 'kernel done' }).first().waitFor()
  step('the notebook was kept: ok')
  await kernel('idle').waitFor()
  await until('a new kernel that answers', async () => {
    await enter('print("here I am", "again")')
    return output('here I am again').waitFor({ timeout: 10_000 }).then(() => true, () => false)
  })
  await run('print("seven times seven is", 7 * 7)', 'seven times seven is 49')
  step('a new kernel after the sleep: ok')
})
