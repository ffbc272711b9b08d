// What every client in Node begins with: where Reveille is, what its operator can ask, and steps that print
// a line each. Waiting is for an event, and never longer than PATIENCE.

export const [namespace, name] = process.env.SANDBOX.split('/')
export const [address, port] = process.env.REVEILLE_LISTEN.split(':')
export const host = `${name}.${namespace}.sandbox.localhost`
export const seconds = Number(process.env.USE_SECONDS)
export const PATIENCE = 1000 * Number(process.env.PATIENCE_SECONDS ?? 180)

export const step = (text) => console.log(text)

export const pause = (ms) => new Promise((done) => setTimeout(done, ms))

export function expect(what, found, expected) {
  const [seen, wanted] = [found, expected].map((value) => JSON.stringify(value))
  if (seen !== wanted) throw new Error(`FAILED: ${what}: expected ${wanted}, found ${seen}`)
  step(`${what}: ok`)
}

/** What Reveille's operator is told of the sandbox. */
export async function sandbox() {
  const url = `http://${process.env.REVEILLE_ADMIN}/v1/sandboxes/${namespace}/${name}`
  return (await fetch(url, { signal: AbortSignal.timeout(30_000) })).json()
}

/** Looks until there is something to see. */
export async function until(what, look) {
  for (const since = Date.now(); Date.now() - since < PATIENCE; await pause(50)) {
    const seen = await look()
    if (seen) return seen
  }
  throw new Error(`FAILED: not within ${PATIENCE} ms: ${what}`)
}

/** Waits until the sandbox sleeps. */
export async function asleep(what) {
  let seen
  await until(`asleep: ${what}`, async () => (seen = await sandbox()).state === 'asleep').catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(seen)}`)
  })
  step(`asleep: ${what}: ok`)
}

/** It must be up, because it was used the whole time. */
export async function staysAwake(what) {
  expect(`awake: ${what}`, (await sandbox()).state, 'awake')
}

/** Does something once a second, for as long as a client is to work. */
export async function use(work) {
  let number = 0
  for (const since = Date.now(); Date.now() - since < 1000 * seconds; await pause(1000)) await work(number++)
  step(`${seconds} s of use: ok`)
}
