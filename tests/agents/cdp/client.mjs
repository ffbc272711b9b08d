// An agent's program that drives a browser in a sandbox over CDP, with playwright-core.
import { createServer } from 'node:http'

import { chromium } from '../clients/browser.mjs'
import { address, asleep, expect, name, namespace, port, staysAwake, use } from '../clients/stage.mjs'

// What the browser looks at.
const site = createServer((request, response) => {
  response.setHeader('content-type', 'text/html')
  response.end(`<title>${request.url}</title><button onclick="this.textContent='pressed'">press</button>`)
})
await new Promise((done) => site.listen(0, '127.0.0.1', done))
const page_url = (path) => `http://127.0.0.1:${site.address().port}${path}`

/** Asks by name where the browser's socket is, as every client of CDP begins, and connects there. */
async function connect() {
  const place = { 'x-sandbox-id': name, 'x-sandbox-namespace': namespace }
  const answer = await fetch(`http://${address}:${port}/json/version`, { headers: place })
  expect('the browser says who it is', answer.status, 200)
  const { webSocketDebuggerUrl: inner } = await answer.json()
  const { pathname } = new URL(inner)
  return chromium.connectOverCDP(`ws://${address}:${port}${pathname}`, { headers: place, timeout: 120_000 })
}

let browser = await connect()
const page = await (await browser.newContext()).newPage()
await use(async (number) => {
  await page.goto(page_url(`/visit-${number}`))
  if ((await page.title()) !== `/visit-${number}`) throw new Error('FAILED: another page')
  await page.getByRole('button').click()
  if ((await page.getByRole('button').textContent()) !== 'pressed') throw new Error('FAILED: not pressed')
})
expect('a screenshot', (await page.screenshot()).length > 1000, true)
await page.setContent(`<pre>${'x'.repeat(2 << 20)}</pre>`)
expect('a page of 2 MiB comes back', (await page.content()).length > 2 << 20, true)
await staysAwake('a browser in use')

const gone = new Promise((done) => browser.on('disconnected', done))
await asleep('a connection that says nothing keeps nobody awake')
await gone
expect('the client is told that it ended', browser.isConnected(), false)

browser = await connect()
const again = await (await browser.newContext()).newPage()
await again.goto(page_url('/again'))
expect('a new browser after the sleep', await again.title(), '/again')
await browser.close()
site.close()
