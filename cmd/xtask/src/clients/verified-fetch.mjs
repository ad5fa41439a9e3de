// Fetches with @helia/verified-fetch from one trustless gateway alone: node verified-fetch.mjs GATEWAY FOLDER REQUEST…
//
// A request is an address, or `MEDIA-TYPE ADDRESS`. What comes is written to FOLDER/0, FOLDER/1, … and one line of JSON
// tells of each. With FOLDER `tamper` nothing is written, and from the second request on one bit of every block is
// changed on the way: the client must not give out anything of it.
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { createVerifiedFetch } from '@helia/verified-fetch'

const [gateway, folder, ...requests] = process.argv.slice(2)
const tampers = folder === 'tamper'
// A client that got a wrong block looks for another gateway, of which there is none, until it is told to stop.
const patience = tampers ? 10000 : 60000
let changes = false
let changed = 0
const between = createServer(async (request, response) => {
  const answer = await fetch(gateway + request.url, { method: request.method, headers: { accept: request.headers.accept } })
  const body = new Uint8Array(await answer.arrayBuffer())
  if (changes && body.length > 0) {
    body[body.length - 1] ^= 1
    changed += 1
  }
  response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') })
  response.end(body)
})
if (tampers) await new Promise(resolve => between.listen(0, '127.0.0.1', resolve))

const verifiedFetch = await createVerifiedFetch({
  gateways: [tampers ? `http://127.0.0.1:${between.address().port}` : gateway],
  routers: [],
  allowLocal: true,
  allowInsecure: true,
  // Blocks come over HTTP alone: no listening, no peers, nothing asked of anybody else.
  libp2pConfig: { addresses: { listen: [] }, transports: [], peerDiscovery: [], services: {} }
})

for (const [number, request] of requests.entries()) {
  const [address, accept] = request.split(' ').reverse()
  const told = { address }
  changes = tampers && number > 0
  try {
    const response = await verifiedFetch(address, { headers: accept ? { accept } : {}, signal: AbortSignal.timeout(patience) })
    told.status = response.status
    told.type = response.headers.get('content-type')
    const body = new Uint8Array(await response.arrayBuffer())
    told.size = body.length
    if (!tampers) await writeFile(join(folder, String(number)), body)
  } catch (error) {
    told.error = String(error)
  }
  told.changed = changed
  console.log(JSON.stringify(told))
}
await verifiedFetch.stop()
process.exit(0)
