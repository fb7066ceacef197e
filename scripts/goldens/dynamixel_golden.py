"""Writes tests/fixtures/dynamixel/packets.json: Protocol 2.0 packets made by ROBOTIS' own library.

Run: pip install dynamixel-sdk==4.1.0
     python scripts/goldens/dynamixel_golden.py

The library writes to a port that only records. Status packets are made with its txPacket too (stuffing
and checksum are the same); for joint answers of fast reads, which it never stuffs, its updateCRC is
called at the end of each block. Its txPacket drops what its addStuffing returns, and so sends packets
unstuffed; here the result is put into the packet, as the library's C++ half does. Every entry has the packet in hexadecimal and what it means.
"""

import json
import pathlib
import random

from dynamixel_sdk.protocol2_packet_handler import Protocol2PacketHandler

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/dynamixel/packets.json"
BROADCAST = 0xFE
STATUS = 0x55


class RecordingPort:
    """What the library asks of a port to send; `sent` is the last packet."""

    is_using = False
    sent = b""

    def clearPort(self):
        pass

    def writePort(self, packet):
        self.sent = bytes(packet)
        return len(packet)

    def readPort(self, length):
        return b""

    def setPacketTimeout(self, length):
        pass

    def isPacketTimeout(self):
        return True


class StuffingHandler(Protocol2PacketHandler):
    """The library's handler, with the stuffed packet kept."""

    def addStuffing(self, packet):
        packet[:] = super().addStuffing(list(packet))
        return packet


port = RecordingPort()
sdk = StuffingHandler()
rng = random.Random(20)
instructions, statuses, fast_statuses = [], [], []


def record(request):
    port.is_using = False
    instructions.append({"request": request, "packet": port.sent.hex()})


def payload(length):
    """Random bytes in which the pattern that is stuffed is frequent."""
    out = []
    while len(out) < length:
        out += rng.choice([[0xFF, 0xFF, 0xFD], [0xFF, 0xFF, 0xFD, 0xFD], [0xFF], [rng.randrange(256)]])
    return out[:length]


def words(*values):
    return [byte for value in values for byte in (value & 0xFF, value >> 8)]


for servo in (0, 1, 9, 252):
    for kind, call in (
        ("ping", sdk.ping),
        ("reboot", sdk.reboot),
        ("action", sdk.action),
        ("clear", sdk.clearMultiTurn),
    ):
        call(port, servo)
        record({"kind": kind, "id": servo})
# The library waits seconds for answers to a broadcast ping: its packet is sent directly.
sdk.txPacket(port, [0, 0, 0, 0, BROADCAST, 3, 0, 1, 0, 0])
record({"kind": "ping", "id": BROADCAST})
sdk.action(port, BROADCAST)
record({"kind": "action", "id": BROADCAST})
sdk.factoryReset(port, 1, 0x02)
record({"kind": "invalid", "id": 1, "reason": "refused"})

for servo, address, length in ((1, 132, 4), (9, 0, 147), (252, 578, 110)):
    sdk.readTx(port, servo, address, length)
    record({"kind": "read", "id": servo, "address": address, "length": length})

for servo, address, length in ((1, 116, 4), (2, 64, 1), (3, 224, 28), (7, 65533, 300), (8, 224, 3)):
    for _ in range(3):
        data = payload(length)
        sdk.writeTxOnly(port, servo, address, length, data)
        record({"kind": "write", "id": servo, "address": address, "data": data})
    data = payload(length)
    port.is_using = False
    sdk.regWriteTxOnly(port, servo, address, length, data)
    record({"kind": "regWrite", "id": servo, "address": address, "data": data})

IDS = [1, 2, 4, 6, 7, 8, 9]
for fast, kind in ((False, "syncRead"), (True, "fastSyncRead")):
    sdk.syncReadTx(port, 132, 4, IDS, len(IDS), fast)
    record({"kind": kind, "address": 132, "length": 4, "ids": IDS})
for length in (1, 4, 12):
    rows = [[servo, payload(length)] for servo in IDS]
    params = [byte for servo, data in rows for byte in [servo, *data]]
    sdk.syncWriteTxOnly(port, 116, length, params, len(params))
    record({"kind": "syncWrite", "address": 116, "length": length, "rows": rows})
items = [{"id": 3, "address": 132, "length": 4}, {"id": 7, "address": 124, "length": 2}]
params = [byte for i in items for byte in [i["id"], *words(i["address"], i["length"])]]
for fast, kind in ((False, "bulkRead"), (True, "fastBulkRead")):
    sdk.bulkReadTx(port, params, len(params), fast)
    record({"kind": kind, "items": items})
rows = [{"id": n, "address": 100 + n, "data": payload(n)} for n in (1, 4, 9)]
params = [b for r in rows for b in [r["id"], *words(r["address"], len(r["data"])), *r["data"]]]
sdk.bulkWriteTxOnly(port, params, len(params))
record({"kind": "bulkWrite", "rows": rows})

for length in [0, 1, 2, 3, 4, 7, 12, 28, 147, 300] * 3:
    servo, error, data = rng.randrange(253), rng.choice([0, 0, 4, 7, 0x80, 0x87]), payload(length)
    body = [STATUS, error, *data]
    port.is_using = False
    sdk.txPacket(port, [0, 0, 0, 0, servo, *words(len(body) + 2), *body, 0, 0])
    statuses.append({"id": servo, "error": error, "data": data, "packet": port.sent.hex()})

for lengths in ([4], [4, 4, 4], [1, 12, 2, 30], [10] * 9):
    blocks = [
        {"id": 10 + i, "error": rng.choice([0, 0x80, 7]), "data": payload(n)}
        for i, n in enumerate(lengths)
    ]
    packet = [0xFF, 0xFF, 0xFD, 0, BROADCAST, *words(1 + sum(n + 4 for n in lengths)), STATUS]
    for block in blocks:
        packet += [block["error"], block["id"], *block["data"]]
        packet += words(sdk.updateCRC(0, packet, len(packet)))
    fast_statuses.append({"blocks": blocks, "packet": bytes(packet).hex()})

OUT.parent.mkdir(parents=True, exist_ok=True)
groups = {"instructions": instructions, "statuses": statuses, "fastStatuses": fast_statuses}
text = ",\n".join(
    f'"{name}": [\n' + ",\n".join(json.dumps(e, separators=(",", ":")) for e in entries) + "\n]"
    for name, entries in groups.items()
)
OUT.write_text("{\n" + text + "\n}\n")
print(f"{OUT}: {OUT.stat().st_size} bytes, {[len(g) for g in groups.values()]} packets")
