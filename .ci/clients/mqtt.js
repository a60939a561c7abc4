// A device with MQTT.js, unmodified: one line for each check; the first that fails ends it.
//
// Usage: NODE_PATH=... node mqtt.js HOST MQTT_PORT HTTP_URL 3|5 QOS_MAX
//
// Of a node in the open NODE_EXTRA_CA_CERTS names who signed for it, and TWINFOLD_TOKEN is who registers the devices.
'use strict'
const mqtt = require('mqtt')

const [host, port, http, version, most] = process.argv.slice(2)
const qosMax = Number(most)
const v5 = version === '5'
const name = `mqttjs-${version}`
const PATIENCE = 20000
const token = process.env.TWINFOLD_TOKEN

function passed(claim) {
  console.log(`  ok  MQTT.js ${v5 ? '5' : '3.1.1'}: ${claim}`)
}

function check(claim, seen, isTrue) {
  if (!isTrue) throw new Error(`${claim}: ${JSON.stringify(seen)}`)
  passed(claim)
}

async function call(method, path, body) {
  const answer = await fetch(`${http}/v1/${path}`, {
    method,
    headers: { 'Content-Type': 'application/json', ...(token ? { Authorization: `Bearer ${token}` } : {}) },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${path}: ${text}`)
  return text ? JSON.parse(text) : null
}

async function until(what, look) {
  const end = Date.now() + PATIENCE
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > end) throw new Error(`${what} never came`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

// A queue that is waited on.
class Heard {
  items = []
  waiting = []
  put(item) {
    const next = this.waiting.shift()
    if (next) next(item)
    else this.items.push(item)
  }
  get(what) {
    if (this.items.length > 0) return Promise.resolve(this.items.shift())
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${what} never came`)), PATIENCE)
      this.waiting.push((item) => {
        clearTimeout(timer)
        resolve(item)
      })
    })
  }
}

// What a device shows as its password. A node in the open gives it when it is activated.
const keys = new Map()
async function keyOf(device) {
  if (!token) return 'ignored'
  if (!keys.has(device)) {
    await call('PUT', `devices/${device}`, {})
    keys.set(device, (await call('POST', `devices/${device}/activate`, { reason: 'a test' })).key)
  }
  return keys.get(device)
}

async function connect(device, clientId, { keep = false, will } = {}) {
  const client = mqtt.connect({
    protocol: token ? 'mqtts' : 'mqtt', host, port: Number(port), protocolVersion: v5 ? 5 : 4,
    clientId, username: device, password: await keyOf(device),
    clean: !keep, reconnectPeriod: 0, keepalive: 30, will,
    ...(v5 ? { properties: { sessionExpiryInterval: keep ? 3600 : 0 } } : {}),
  })
  client.heard = new Heard()
  client.ended = new Heard()
  client.on('message', (topic, payload, packet) => client.heard.put({ topic, body: JSON.parse(payload), qos: packet.qos }))
  client.on('disconnect', (packet) => { client.reason = packet.reasonCode })
  client.on('close', () => client.ended.put(client.reason))
  client.on('error', () => {})
  const ready = new Heard()
  client.on('connect', (connack) => ready.put(connack.sessionPresent))
  client.present = await ready.get(`${device} connects`)
  return client
}

const say = (client, topic, body, qos = 1) => client.publishAsync(topic, JSON.stringify(body), { qos })

async function run() {
  // Connect, and each quality of service towards the server.
  const device = await connect(name, 'main')
  check('connects without a session', device.present, device.present === false)
  for (let qos = 0; qos <= qosMax; qos++) await say(device, `twins/me/telemetry/qos-${qos}`, qos, qos)
  await until('telemetry', async () => (await call('GET', `twins/${name}/telemetry`)).items.length === qosMax + 1)
  passed(`publishes with QoS 0 to ${qosMax}, each once`)
  await say(device, 'twins/me/reported', { client: 'MQTT.js' })
  const twin = await call('GET', `twins/${name}`)
  check('what it reports is in its twin when it is acknowledged', twin.reported, twin.reported.client === 'MQTT.js')

  // From the server, at the quality that was asked for.
  const granted = await device.subscribeAsync('twins/me/desired', { qos: 2 })
  check(`is granted QoS ${qosMax}`, granted, granted[0].qos === qosMax)
  check('hears the whole desired section at first', null, (await device.heard.get('desired')).body.full)
  await call('PATCH', `twins/${name}`, { desired: { on: true } })
  const change = await device.heard.get('a change')
  check(`hears a desired change with QoS ${qosMax}`, change, change.body.patch.on === true && change.qos === qosMax)

  // A request, answered now.
  await device.subscribeAsync('twins/me/requests/+/+', { qos: 0 })
  const asking = call('POST', `twins/${name}/requests/status?timeout_s=15`, { of: 'all' })
  const asked = await device.heard.get('a request')
  await say(device, `${asked.topic}/reply`, { status: 200, payload: { asked: asked.body } })
  const answered = await asking
  check('answers a request', answered, answered.status === 200 && answered.payload.asked.of === 'all')

  // Takeover.
  const newer = await connect(name, 'main')
  const reason = await device.ended.get('the end')
  check('is taken over by the same client id', reason, !v5 || reason === 0x8e)
  await newer.endAsync()

  // A kept session: 50 commands queued and a desired change made while away, without subscribing again.
  const kept = `${name}-kept`
  const away = await connect(kept, 'kept', { keep: true })
  await away.subscribeAsync('twins/me/commands', { qos: 1 })
  await away.subscribeAsync('twins/me/desired', { qos: 1 })
  await away.heard.get('desired')
  await say(away, 'twins/me/reported', { n: 1 })
  await away.endAsync()
  await until('the end of the connection',
    async () => (await call('GET', `twins/${kept}`)).system.connection.state === 'disconnected')
  const sent = []
  for (let n = 0; n < 50; n++) {
    sent.push((await call('POST', `twins/${kept}/commands`, { name: 'step', payload: n, answer: 'expected' })).id)
  }
  await call('PATCH', `twins/${kept}`, { desired: { mode: 'eco' } })
  const back = await connect(kept, 'kept', { keep: true })
  check('finds its session again', back.present, back.present === true)
  const commands = []
  const changes = []
  while (commands.length < 50 || changes.length === 0) {
    const { topic, body } = await back.heard.get('what was missed')
    if (topic === 'twins/me/desired') {
      changes.push(body)
      continue
    }
    commands.push(body.id)
    say(back, `twins/me/commands/${body.id}/done`, null)
  }
  check('gets 50 commands queued while it was away, in order, each once', commands, commands.join() === sent.join())
  check('and the desired change, without subscribing again', changes, changes[0].patch.mode === 'eco')
  await until('the last outcome', async () => (await call('GET', `twins/${kept}/commands/${sent[49]}`)).state === 'done')
  passed('and says what became of them')
  await back.endAsync()

  // A will.
  const mortal = await connect(`${name}-mortal`, 'mortal', {
    will: { topic: 'twins/me/reported', payload: JSON.stringify({ alive: false }), qos: 1 },
  })
  mortal.stream.destroy()
  await until('the will', async () => (await call('GET', `twins/${name}-mortal`)).reported.alive === false)
  passed('leaves a will when its connection breaks')
}

run().then(() => process.exit(0), (error) => {
  console.error(`FAILED  MQTT.js: ${error.message}`)
  process.exit(1)
})
