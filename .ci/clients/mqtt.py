"""A device with paho-mqtt, unmodified: one line for each check; the first that fails ends it.

Usage: mqtt.py HOST MQTT_PORT HTTP_URL 3|5 QOS_MAX

Of a node in the open TWINFOLD_CA names who signed for it, and TWINFOLD_TOKEN is who registers the devices.
"""
import json
import os
import queue
import ssl
import sys
import time
import urllib.request

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, http, version = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
v5, qos_max = version == 5, int(sys.argv[5])
name = f"paho-{version}"
PATIENCE = 20
token = os.environ.get("TWINFOLD_TOKEN")
context = ssl.create_default_context(cafile=os.environ["TWINFOLD_CA"]) if token else None


def passed(claim):
    print(f"  ok  paho-mqtt {'5' if v5 else '3.1.1'}: {claim}", flush=True)


def check(claim, seen, is_true):
    if not is_true:
        sys.exit(f"FAILED  paho-mqtt: {claim}: {seen!r}")
    passed(claim)


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"{http}/v1/{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE, context=context) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def until(what, look):
    end = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            sys.exit(f"FAILED  paho-mqtt: {what} never came")
        time.sleep(0.05)


keys = {}


def key_of(device):
    """What it shows as its password. A node in the open gives it when it is activated."""
    if not token:
        return "ignored"
    if device not in keys:
        call("PUT", f"devices/{device}", {})
        keys[device] = call("POST", f"devices/{device}/activate", {"reason": "a test"})["key"]
    return keys[device]


class Device:
    """A client with what it heard."""

    def __init__(self, device, client, keep=False, will=None):
        protocol = mqtt.MQTTv5 if v5 else mqtt.MQTTv311
        clean = {} if v5 else {"clean_session": not keep}
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client, protocol=protocol, **clean)
        self.client.username_pw_set(device, key_of(device))
        if context:
            self.client.tls_set_context(context)
        self.client.max_inflight_messages_set(20)
        self.heard, self.ready, self.ended = queue.Queue(), queue.Queue(), queue.Queue()
        self.granted = queue.Queue()
        self.client.on_connect = lambda c, u, flags, reason, p: self.ready.put((flags.session_present, reason))
        self.client.on_disconnect = lambda c, u, flags, reason, p: self.ended.put(reason)
        self.client.on_message = lambda c, u, message: self.heard.put((message.topic, json.loads(message.payload), message.qos))
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.granted.put([r.value for r in reasons])
        if will:
            self.client.will_set(*will)
        arguments = {}
        if v5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if keep else 0
            arguments = {"clean_start": not keep, "properties": properties}
        self.client.reconnect_delay_set(600, 600)
        self.client.connect(host, port, 30, **arguments)
        self.client.loop_start()
        self.present, reason = self.ready.get(timeout=PATIENCE)
        if reason.is_failure:
            sys.exit(f"FAILED  paho-mqtt: {device} connects: {reason}")

    def publish(self, topic, body, qos=1):
        self.client.publish(topic, json.dumps(body), qos).wait_for_publish(PATIENCE)

    def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        return self.granted.get(timeout=PATIENCE)

    def hear(self):
        return self.heard.get(timeout=PATIENCE)

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()

    def vanish(self):
        """The connection breaks, and nothing was said."""
        self.client.loop_stop()
        self.client._sock_close()


# Connect, and each quality of service towards the server.
device = Device(name, "main")
check("connects without a session", device.present, not device.present)
for qos in range(qos_max + 1):
    device.publish(f"twins/me/telemetry/qos-{qos}", qos, qos)
until("telemetry", lambda: len(call("GET", f"twins/{name}/telemetry")["items"]) == qos_max + 1)
passed(f"publishes with QoS 0 to {qos_max}, each once")
device.publish("twins/me/reported", {"client": "paho"})
twin = call("GET", f"twins/{name}")
check("what it reports is in its twin when it is acknowledged", twin["reported"], twin["reported"]["client"] == "paho")

# From the server, at the quality that was asked for.
granted = device.subscribe("twins/me/desired", 2)
check(f"is granted QoS {qos_max}", granted, granted == [qos_max])
check("hears the whole desired section at first", None, device.hear()[1]["full"])
call("PATCH", f"twins/{name}", {"desired": {"on": True}})
heard = device.hear()
check(f"hears a desired change with QoS {qos_max}", heard, heard[1]["patch"] == {"on": True} and heard[2] == qos_max)

# A request, answered now.
device.subscribe("twins/me/requests/+/+", 0)


def reply(client, user, message):
    client.publish(f"{message.topic}/reply", json.dumps({"status": 200, "payload": {"asked": json.loads(message.payload)}}), 1)


device.client.message_callback_add("twins/me/requests/#", reply)
answered = call("POST", f"twins/{name}/requests/status?timeout_s=15", {"of": "all"})
check("answers a request", answered, answered == {"status": 200, "payload": {"asked": {"of": "all"}}})

# Takeover.
newer = Device(name, "main")
ended = device.ended.get(timeout=PATIENCE)
check("is taken over by the same client id", ended, not v5 or ended.value == 0x8E)
device.client.loop_stop()
newer.leave()

# A kept session: 50 commands queued and a desired change made while away, without subscribing again.
kept = f"{name}-kept"
away = Device(kept, "kept", keep=True)
away.subscribe("twins/me/commands", 1)
away.subscribe("twins/me/desired", 1)
away.hear()
away.publish("twins/me/reported", {"n": 1})
away.leave()
until("the end of the connection", lambda: call("GET", f"twins/{kept}")["system"]["connection"]["state"] == "disconnected")
sent = [call("POST", f"twins/{kept}/commands", {"name": "step", "payload": n, "answer": "expected"})["id"] for n in range(50)]
call("PATCH", f"twins/{kept}", {"desired": {"mode": "eco"}})
back = Device(kept, "kept", keep=True)
check("finds its session again", back.present, back.present)
commands, changes = [], []
while len(commands) < 50 or not changes:
    topic, body, _ = back.hear()
    if topic == "twins/me/desired":
        changes.append(body)
        continue
    commands.append(body["id"])
    back.client.publish(f"twins/me/commands/{body['id']}/done", "null", 1)
check("gets 50 commands queued while it was away, in order, each once", commands, commands == sent)
check("and the desired change, without subscribing again", changes, changes[0]["patch"] == {"mode": "eco"})
until("the last outcome", lambda: call("GET", f"twins/{kept}/commands/{sent[-1]}")["state"] == "done")
passed("and says what became of them")
back.leave()

# A will.
mortal = Device(f"{name}-mortal", "mortal", will=("twins/me/reported", json.dumps({"alive": False}), 1))
mortal.vanish()
until("the will", lambda: call("GET", f"twins/{name}-mortal")["reported"].get("alive") is False)
passed("leaves a will when its connection breaks")
