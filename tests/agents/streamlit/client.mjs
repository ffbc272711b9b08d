// Somebody with a page of Streamlit: presses, types, uploads, leaves the tab, and comes back to it.
import { createHash } from 'node:crypto'

import { inBrowser } from '../clients/browser.mjs'
import { expect, host, port, sandbox, staysAwake, step, until, use } from '../clients/stage.mjs'

await inBrowser(async (page) => {
  await page.goto(`http://${host}:${port}/`)
  await page.getByText('presses: 0').waitFor()
  step('a page of a sleeping agent: ok')

  let presses = 0
  const press = async () => {
    await page.getByRole('button', { name: 'Press' }).click()
    await page.getByText(`presses: ${++presses}`, { exact: true }).waitFor()
  }
  await use(press)
  await staysAwake('a page in use')

  await page.getByLabel('Name').fill('Ada')
  await page.getByLabel('Name').press('Enter')
  await page.getByText('hello Ada').waitFor()
  step('what is typed arrives: ok')

  const body = Buffer.alloc(8 << 20, 'weights')
  await page.locator('input[type=file]').setInputFiles({ name: 'weights.bin', mimeType: 'application/octet-stream', buffer: body })
  await page.getByText(`sha256 ${createHash('sha256').update(body).digest('hex')}`).waitFor()
  step('an upload of 8 MiB: ok')

  // The forgotten tab: its socket is silent, so the sandbox sleeps; the page then connects again by itself.
  const { epoch } = await sandbox()
  await until('a sleep', async () => (await sandbox()).epoch > epoch)
  step('it sleeps under an idle tab: ok')
  await press()
  step('the same tab goes on, and the disk was kept: ok')
  await page.reload()
  await page.getByText(`presses: ${presses}`, { exact: true }).waitFor()
  await press()
  expect('presses', presses > 1, true)
})
