// A client of the library `ws`.
import { once } from 'node:events'
import { createRequire } from 'node:module'

import { address, asleep, expect, host, port, staysAwake, use } from '../clients/stage.mjs'

const { WebSocket } = createRequire(process.env.NODE_PACKAGES)('ws')

/** A socket whose messages are waited for in order. */
async function open() {
  const socket = new WebSocket(`ws://${host}:${port}/talk`, {
    origin: `http://${host}:${port}`,
    handshakeTimeout: 120_000,
    // Names below localhost are this machine, which glibc alone does not know.
    lookup: (_, options, done) => (options.all ? done(null, [{ address, family: 4 }]) : done(null, address, 4)),
  })
  const messages = []
  let wanted
  socket.on('message', (data, binary) => {
    messages.push(binary ? data : data.toString())
    wanted?.()
  })
  const closed = new Promise((done) => socket.on('close', (code, reason) => done([code, reason.toString()])))
  socket.on('error', () => {})
  const receive = async () => {
    while (!messages.length) {
      const ended = await Promise.race([new Promise((done) => (wanted = done)), closed])
      if (ended) throw new Error(`FAILED: the socket closed: ${ended}`)
    }
    return messages.shift()
  }
  await Promise.race([
    once(socket, 'open'),
    closed.then((end) => { throw new Error(`FAILED: not opened: ${end}`) }),
  ])
  return { socket, receive, closed }
}

const first = await open()
expect('opened on a sleeping agent', await first.receive(), 'connection 1')
const big = Buffer.alloc(1 << 20, 'abc')
first.socket.send(big)
expect('a message of 1 MiB', big.equals(await first.receive()), true)
await use(async (number) => {
  first.socket.send(`hello ${number}`)
  const answer = await first.receive()
  if (answer !== `hello ${number}`) throw new Error(`FAILED: ${answer}`)
})
await staysAwake('a socket in use')
first.socket.send('leave')
expect("the server's own close", await first.closed, [4001, 'as you wish'])

const large = await open()
await large.receive()
large.socket.send(Buffer.alloc(8 << 20))
expect('too large a message is told of in mid-send', (await large.closed)[0], 1009)

const idle = await open()
expect('an idle socket', await idle.receive(), 'connection 3')
const beat = setInterval(() => idle.socket.ping(), 500)
await asleep('pings keep nobody awake')
clearInterval(beat)
const [code, reason] = await idle.closed
expect(`the sleep was told: ${code} ${reason}`, [1001, 1012, 1013].includes(code), true)

const last = await open()
expect('the next one wakes it, and the disk was kept', await last.receive(), 'connection 4')
last.socket.send('again')
expect('it echoes', await last.receive(), 'again')
last.socket.close()
await last.closed
