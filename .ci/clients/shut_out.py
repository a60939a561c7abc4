"""How long it takes until a device that is revoked is out: from the answer of the call to the end of its connection, as
paho-mqtt sees it. Prints what it measured; fails when it is not within a second.

Usage: TWINFOLD_CA=FILE TWINFOLD_TOKEN=TOKEN shut_out.py HOST MQTT_PORT HTTP_URL
"""
import http.client
import json
import os
import queue
import ssl
import sys
import time
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt

host, port, url = sys.argv[1], int(sys.argv[2]), urlsplit(sys.argv[3])
token = os.environ["TWINFOLD_TOKEN"]
context = ssl.create_default_context(cafile=os.environ["TWINFOLD_CA"])
ROUNDS = 20
PATIENCE = 20
WITHIN_S = 1.0

api = http.client.HTTPSConnection(url.hostname, url.port, timeout=PATIENCE, context=context)


def call(method, path, body):
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    api.request(method, f"/v1/{path}", json.dumps(body), headers)
    answer = api.getresponse()
    text = answer.read()
    if answer.status >= 300:
        sys.exit(f"FAILED  {method} {path}: {answer.status} {text!r}")
    return json.loads(text)


def refused(device, key):
    """The reason by which a client is not let in; None if it is."""
    client, told = session(device, key)
    reason = told.get(timeout=PATIENCE)
    client.loop_stop()
    return reason if reason.is_failure else None


def session(device, key):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "session", protocol=mqtt.MQTTv5)
    told = queue.Queue()
    client.on_connect = lambda c, u, flags, reason, p: told.put(reason)
    client.username_pw_set(device, key)
    client.tls_set_context(context)
    client.reconnect_delay_set(600, 600)
    client.connect(host, port, 60)
    client.loop_start()
    return client, told


took_ms = []
for n in range(ROUNDS):
    device = f"shut-out-{n}"
    call("PUT", f"devices/{device}", {})
    key = call("POST", f"devices/{device}/activate", {})["key"]
    client, told = session(device, key)
    reason = told.get(timeout=PATIENCE)
    if reason.is_failure:
        sys.exit(f"FAILED  {device} connects: {reason}")
    ended = queue.Queue()
    client.on_disconnect = lambda c, u, flags, why, p: ended.put((time.monotonic(), why))

    call("POST", f"devices/{device}/revoke", {"reason": "measured"})
    answered = time.monotonic()
    at, why = ended.get(timeout=PATIENCE)
    client.loop_stop()
    # It may be out before the call is answered.
    took_ms.append(max(0.0, at - answered) * 1000)
    if why.value != 0x87:
        sys.exit(f"FAILED  {device} is told why: {why}")
    if not refused(device, key):
        sys.exit(f"FAILED  {device} comes in again")

took_ms.sort()
if took_ms[-1] > WITHIN_S * 1000:
    sys.exit(f"FAILED  a revoked device is out within {WITHIN_S} s: {took_ms}")
print(
    f"  ok  what is revoked is out over MQTT, and told why (0x87): {ROUNDS} times, "
    f"{took_ms[len(took_ms) // 2]:.2f} ms (p50), {took_ms[-1]:.2f} ms (most) after the call was answered"
)
