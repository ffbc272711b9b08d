// A browser of one's own: Debian's Chromium, driven by playwright-core. Nothing is kept of it.
import { createRequire } from 'node:module'

export const { chromium } = createRequire(process.env.NODE_PACKAGES)('playwright-core')

/** Chromium that neither needs rights of its own nor talks to anybody by itself. */
export const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Opens a browser, works in a page of it, and shows the page's last words if the work fails. */
export async function inBrowser(work) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, headless: true, args: FLAGS })
  const words = []
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    page.setDefaultTimeout(1000 * Number(process.env.PATIENCE_SECONDS ?? 180))
    page.on('console', (message) => words.push(`${message.type()}: ${message.text()}`))
    page.on('response', (answer) => answer.status() >= 400 && words.push(`${answer.status()} ${answer.url()}`))
    page.on('websocket', (socket) => {
      words.push(`socket ${socket.url()}`)
      socket.on('close', () => words.push(`socket ends ${socket.url()}`))
    })
    try {
      await work(page)
    } catch (error) {
      console.log(words.slice(-40).join('\n'))
      if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT })
      throw error
    }
  } finally {
    await browser.close()
  }
}
