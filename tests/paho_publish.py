"""Publishes numbered messages with Eclipse Paho and waits until each is acknowledged.

Exits with 0 only when every publish went through its whole exchange. Works with Paho 1.6 (Debian 12) and 2.x.
"""

import argparse
import sys
import time

import paho.mqtt.client as mqtt

arguments = argparse.ArgumentParser()
arguments.add_argument("--port", type=int, required=True)
arguments.add_argument("--version", choices=["3.1.1", "5"], required=True)
arguments.add_argument("--qos", type=int, choices=[0, 1, 2], required=True)
arguments.add_argument("--topic", required=True)
arguments.add_argument("--count", type=int, default=50)
arguments.add_argument("--client-id", default="paho")
arguments.add_argument("--ca")
arguments.add_argument("--cert")
arguments.add_argument("--key")
arguments.add_argument("--user")
arguments.add_argument("--password")
options = arguments.parse_args()

protocol = mqtt.MQTTv5 if options.version == "5" else mqtt.MQTTv311
if hasattr(mqtt, "CallbackAPIVersion"):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION1, client_id=options.client_id, protocol=protocol)
else:
    client = mqtt.Client(client_id=options.client_id, protocol=protocol)
if options.ca:
    client.tls_set(ca_certs=options.ca, certfile=options.cert, keyfile=options.key)
if options.user:
    client.username_pw_set(options.user, options.password)
client.connect("localhost" if options.ca else "127.0.0.1", options.port, keepalive=30)
client.loop_start()

deadline = time.monotonic() + 60
messages = [
    client.publish(options.topic, '{"n":%d}' % number, qos=options.qos) for number in range(options.count)
]
for message in messages:
    message.wait_for_publish(max(0.1, deadline - time.monotonic()))
    if not message.is_published():
        sys.exit("message %d was not acknowledged within 60 s" % message.mid)
client.disconnect()
client.loop_stop()
