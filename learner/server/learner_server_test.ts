import assert from "node:assert/strict";
import { once } from "node:events";
// @ts-types="@types/ws"
import WebSocket from "ws";
import type { ChunkTransition } from "../../common/types.ts";
import { decodeFrame, encodeFrame } from "../../common/wire/frames.ts";
import type { HelloMessage, Message } from "../../common/wire/messages.ts";
import { CLOSE_CODES, PROTOCOL_VERSION } from "../../common/wire/protocol.ts";
import { sampleTensors, sampleTransition } from "../../common/wire/testing.ts";
import { LearnerServer } from "./learner_server.ts";
import { startLearner, TEST_SIGNATURE } from "./testing.ts";

const TOKEN = "0123456789abcdef0123";
const HELLO: HelloMessage = {
  type: "hello",
  protocolVersion: PROTOCOL_VERSION,
  role: "controller",
  controllerId: "bench-1",
  signature: TEST_SIGNATURE,
};

/** A controller without any cleverness: what it sends and receives is under the test's control. */
class RawPeer implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly #received: Message[] = [];
  #wake = Promise.withResolvers<void>();
  readonly closeCode: Promise<number>;

  constructor(url: string, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(url, { headers, perMessageDeflate: false });
    this.socket.binaryType = "arraybuffer";
    this.socket.on("error", () => {});
    this.socket.on("message", (data) => {
      assert.ok(data instanceof ArrayBuffer);
      this.#received.push(decodeFrame(new Uint8Array(data)));
      this.#wake.resolve();
    });
    this.closeCode = new Promise((resolve) => this.socket.on("close", (code) => resolve(code)));
  }

  static async connect(url: string, headers: Record<string, string> = {}): Promise<RawPeer> {
    const peer = new RawPeer(url, headers);
    await once(peer.socket, "open");
    return peer;
  }

  static async greeted(url: string, hello: HelloMessage = HELLO): Promise<RawPeer> {
    const peer = await RawPeer.connect(url);
    peer.send(hello);
    await peer.receive("welcome");
    return peer;
  }

  send(message: Message): void {
    this.socket.send(encodeFrame(message));
  }

  /** The next message of a type; others before it are dropped. */
  async receive<T extends Message["type"]>(type: T): Promise<Extract<Message, { type: T }>> {
    while (true) {
      const message = this.#received.shift();
      if (message === undefined) {
        await this.#wake.promise;
        this.#wake = Promise.withResolvers();
      } else if (message.type === type) return message as Extract<Message, { type: T }>;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.socket.readyState === WebSocket.CLOSED) return;
    this.socket.close();
    await this.closeCode;
  }
}

async function handshakeStatus(url: string, headers: Record<string, string> = {}): Promise<number> {
  const socket = new WebSocket(url, { headers });
  socket.on("error", () => {});
  const closed = new Promise((resolve) => socket.on("close", resolve));
  const [, response] = await once(socket, "unexpected-response");
  socket.terminate();
  await closed;
  return response.statusCode;
}

Deno.test("LearnerServer welcomes a controller and sends the current weights", async () => {
  await using learner = startLearner();
  await using peer = await RawPeer.connect(learner.url);
  peer.send(HELLO);
  const welcome = await peer.receive("welcome");
  assert.deepEqual(welcome, {
    type: "welcome",
    policyVersion: 1,
    runName: "test-run",
    initialization: "checkpoint",
    wantsImageTokens: false,
  });
  const weights = await peer.receive("weights");
  assert.equal(weights.version, 1);
  assert.deepEqual(weights.slices[0].data, sampleTensors(1)[0].data);
});

Deno.test("LearnerServer refuses another signature with a sentence and closes", async () => {
  await using learner = startLearner();
  await using peer = await RawPeer.connect(learner.url);
  peer.send({ ...HELLO, signature: { ...TEST_SIGNATURE, model: "gemma_2b" } });
  const refuse = await peer.receive("refuse");
  assert.match(refuse.sentence, /model is "tiny" on the learner and "gemma_2b" on the controller/);
  assert.equal(refuse.canRetry, false);
  assert.equal(await peer.closeCode, CLOSE_CODES.refused);
});

Deno.test("LearnerServer refuses another protocol version", async () => {
  await using learner = startLearner();
  await using peer = await RawPeer.connect(learner.url);
  peer.send({ ...HELLO, protocolVersion: 2 });
  assert.match((await peer.receive("refuse")).sentence, /protocol version is 6 .* and 2 /);
  assert.equal(await peer.closeCode, CLOSE_CODES.refused);
});

Deno.test("LearnerServer acknowledges each chunk once and names duplicates", async () => {
  await using learner = startLearner();
  await using peer = await RawPeer.greeted(learner.url);
  const [first, second] = [sampleTransition(0), sampleTransition(1)];
  peer.send({ type: "transitions", transitions: [first] });
  assert.deepEqual((await peer.receive("ack")).chunkIds, ["chunk-0"]);
  peer.send({ type: "transitions", transitions: [first, second] });
  const ack = await peer.receive("ack");
  assert.deepEqual([ack.chunkIds, ack.duplicateIds], [["chunk-1"], ["chunk-0"]]);
  assert.deepEqual(learner.accepted, [first, second]);
  assert.deepEqual(learner.counts, { accepted: 2, duplicates: 1, malformed: 0, refused: {} });
});

Deno.test("LearnerServer keeps the good transitions of a frame and refuses the others", async () => {
  await using learner = startLearner();
  await using peer = await RawPeer.greeted(learner.url);
  const bad = sampleTransition(1, { reward: NaN });
  peer.send({ type: "transitions", transitions: [sampleTransition(0), bad] });
  const ack = await peer.receive("ack");
  assert.deepEqual([ack.chunkIds, ack.refusedIds], [["chunk-0"], ["chunk-1"]]);
  assert.match((await peer.receive("error")).sentence, /Cannot accept transition: reward/);
  peer.send({ type: "transitions", transitions: [sampleTransition(2)] });
  assert.deepEqual((await peer.receive("ack")).chunkIds, ["chunk-2"]);
  assert.equal(learner.counts.malformed, 1);
});

Deno.test("LearnerServer counts what it refuses by reason and tells the sender", async () => {
  await using learner = startLearner();
  await using peer = await RawPeer.greeted(learner.url);
  const { tokenLogProbs } = sampleTransition(0);
  const transitions = [
    sampleTransition(0),
    sampleTransition(1, { logProb: -12 }),
    sampleTransition(2, { tokenLogProbs: tokenLogProbs.slice(1) }),
    sampleTransition(3, { tokenLogProbs: tokenLogProbs.with(0, 1e-3) }),
    sampleTransition(4, { tokenLogProbs: tokenLogProbs.with(0, NaN) }),
    sampleTransition(5, { logProb: 4 }),
  ];
  peer.send({ type: "transitions", transitions });
  const ack = await peer.receive("ack");
  assert.deepEqual(ack.chunkIds, ["chunk-0"]);
  assert.deepEqual(ack.refusedIds, ["chunk-1", "chunk-2", "chunk-3", "chunk-4", "chunk-5"]);
  const sentences = [];
  for (let i = 0; i < 3; i++) sentences.push((await peer.receive("error")).sentence);
  assert.match(sentences[0], /logProb: must be the sum of the tokens', which is -12.5, got -12/);
  assert.match(sentences[1], /tokenLogProbs: must have one number a token, got 3 for 4/);
  assert.match(sentences[2], /tokenLogProbs: must be finite and at most 0, got 0.00\d+ at index 0/);
  assert.equal(learner.counts.malformed, 5);
  const refused = { log_prob_sum: 1, log_prob_length: 1, log_prob_range: 3 };
  assert.deepEqual(learner.counts.refused, refused);
  assert.deepEqual(learner.accepted.map(({ chunkId }) => chunkId), ["chunk-0"]);
});

Deno.test("LearnerServer answers garbage with a sentence, closes, and serves others", async () => {
  await using learner = startLearner({ maxFrameBytes: 65_536 });
  await using bystander = await RawPeer.greeted(learner.url, { ...HELLO, controllerId: "other" });
  const wrongVersion = encodeFrame(HELLO);
  wrongVersion[1] = 9;
  const cases: [string | Uint8Array, RegExp, number][] = [
    ["text", /it is text, frames are binary/, CLOSE_CODES.malformed],
    [Uint8Array.of(1, 2, 3), /does not start as a frame does/, CLOSE_CODES.malformed],
    [new Uint8Array(0), /does not start as a frame does/, CLOSE_CODES.malformed],
    [encodeFrame(HELLO).subarray(0, 40), /cut short/, CLOSE_CODES.malformed],
    [wrongVersion, /has version 9, this program reads version 1/, CLOSE_CODES.malformed],
    [new Uint8Array(70_000), /70000 bytes, the limit is 65536/, CLOSE_CODES.oversize],
    [encodeFrame({ type: "busy" }), /Expected a hello first, got busy/, CLOSE_CODES.noHello],
  ];
  for (const [data, pattern, code] of cases) {
    await using peer = await RawPeer.connect(learner.url);
    peer.socket.send(data);
    const { sentence } = await peer.receive("error");
    assert.match(sentence, pattern);
    assert.ok(!/\n|at file:/.test(sentence), "no stack crosses the wire");
    assert.equal(await peer.closeCode, code);
  }
  assert.equal(learner.counts.malformed, 6);
  bystander.send({ type: "transitions", transitions: [sampleTransition(0)] });
  assert.deepEqual((await bystander.receive("ack")).chunkIds, ["chunk-0"]);
});

Deno.test("LearnerServer closes a connection that says no hello in time", async () => {
  await using learner = startLearner({ helloTimeoutMs: 20 });
  await using peer = await RawPeer.connect(learner.url);
  assert.match((await peer.receive("error")).sentence, /No hello came in time/);
  assert.equal(await peer.closeCode, CLOSE_CODES.noHello);
});

Deno.test("LearnerServer lets a slow controller skip versions", async () => {
  await using learner = startLearner();
  await using peer = await RawPeer.greeted(learner.url);
  assert.equal((await peer.receive("weights")).version, 1);
  for (const version of [2, 3, 4]) learner.server.publish(version, sampleTensors(version));
  peer.send({ type: "weights_received", version: 1 });
  const newest = await peer.receive("weights");
  assert.equal(newest.version, 4);
  assert.equal(newest.slices[0].data[0], 4);
  peer.send({ type: "weights_received", version: 4 });
  learner.server.publish(5, sampleTensors(5));
  assert.equal((await peer.receive("weights")).version, 5);
  assert.deepEqual(learner.server.controllers(), [
    { controllerId: "bench-1", policyVersion: 4, chunks: 0 },
  ]);
});

Deno.test("LearnerServer sends a tensor that is never trained once a connection", async () => {
  const [frozen] = sampleTensors(0);
  const tensorsOf = (version: number) => [
    frozen,
    { ...sampleTensors(version)[0], name: "trained" },
  ];
  const initialWeights = { version: 1, tensors: tensorsOf(1) };
  await using learner = startLearner({ initialWeights });
  await using old = await RawPeer.greeted(learner.url);
  const namesOf = async (peer: RawPeer, version: number) => {
    const weights = await peer.receive("weights");
    assert.equal(weights.version, version);
    peer.send({ type: "weights_received", version });
    return weights.slices.map(({ name }) => name);
  };
  assert.deepEqual(await namesOf(old, 1), [frozen.name, "trained"]);
  for (const version of [2, 3]) {
    learner.server.publish(version, tensorsOf(version));
    assert.deepEqual(await namesOf(old, version), ["trained"]);
  }
  await using young = await RawPeer.greeted(learner.url, { ...HELLO, controllerId: "bench-2" });
  assert.deepEqual(await namesOf(young, 3), [frozen.name, "trained"]);
  // Nothing new: a message all the same, for the version.
  learner.server.publish(4, initialWeights.tensors);
  assert.deepEqual(await namesOf(young, 4), []);
});

Deno.test("LearnerServer.publish() refuses a version that does not grow", async () => {
  await using learner = startLearner();
  assert.throws(() => learner.server.publish(1, sampleTensors(1)), /version 1 must be above 1/);
});

Deno.test("LearnerServer tells controllers to wait, to go on and that the run is over", async () => {
  const learner = startLearner();
  await using early = await RawPeer.greeted(learner.url);
  learner.server.setBusy(true);
  await early.receive("busy");
  await using late = await RawPeer.greeted(learner.url, { ...HELLO, controllerId: "late" });
  await late.receive("busy");
  learner.server.setBusy(false);
  await Promise.all([early.receive("resume"), late.receive("resume")]);
  await learner.server.close({ runOver: "All 40 updates are done" });
  assert.equal((await late.receive("shutdown")).sentence, "All 40 updates are done");
  assert.equal(await late.closeCode, CLOSE_CODES.runOver);
});

Deno.test("LearnerServer takes no more controllers than its limit", async () => {
  await using learner = startLearner({ maxControllers: 1 });
  await using first = await RawPeer.greeted(learner.url);
  await using second = await RawPeer.connect(learner.url);
  second.send({ ...HELLO, controllerId: "bench-2" });
  const refuse = await second.receive("refuse");
  assert.match(refuse.sentence, /already has 1 controllers, its limit/);
  assert.equal(refuse.canRetry, true);
  assert.equal(await second.closeCode, CLOSE_CODES.full);
  // The same controller again takes the place of its older connection.
  await using again = await RawPeer.greeted(learner.url);
  assert.equal(await first.closeCode, CLOSE_CODES.replaced);
  again.send({ type: "transitions", transitions: [sampleTransition(0)] });
  await again.receive("ack");
});

Deno.test("LearnerServer does not acknowledge what it failed to take", async () => {
  await using learner = startLearner({
    intake: () => {
      throw new Error("secret: disk full");
    },
  });
  await using peer = await RawPeer.greeted(learner.url);
  peer.send({ type: "transitions", transitions: [sampleTransition(0)] });
  const { sentence } = await peer.receive("error");
  assert.equal(sentence, "The learner failed to take the transitions");
  assert.equal(await peer.closeCode, CLOSE_CODES.learnerFailed);
  assert.ok(learner.logger.lines.some((line) => line.includes("disk full")));
});

Deno.test("LearnerServer needs the token over HTTP and WebSocket", async () => {
  await using learner = startLearner({ token: TOKEN });
  const authorization = `Bearer ${TOKEN}`;
  assert.equal((await learner.server.app.request("/status")).status, 401);
  assert.equal(await handshakeStatus(learner.url), 401);
  assert.equal(await handshakeStatus(learner.url, { authorization: "Bearer wrong" }), 401);
  await using peer = await RawPeer.connect(learner.url, { authorization });
  peer.send(HELLO);
  await peer.receive("welcome");
  const response = await learner.server.app.request("/status", { headers: { authorization } });
  assert.deepEqual((await response.json()).controllers.length, 1);
});

Deno.test("LearnerServer refuses web pages and plain requests on /ws", async () => {
  await using learner = startLearner();
  assert.equal(await handshakeStatus(learner.url, { origin: "http://evil.example" }), 403);
  const plain = await learner.server.app.request("/ws");
  assert.equal(plain.status, 426);
  assert.match((await plain.json()).error, /takes WebSocket connections/);
});

Deno.test("LearnerServer serves status, health and metrics without a socket", async () => {
  await using learner = startLearner({ isHealthy: () => false });
  const { app } = learner.server;
  assert.deepEqual(await (await app.request("/status")).json(), {
    run: "test-run",
    controllers: [],
  });
  assert.equal((await app.request("/healthz")).status, 503);
  assert.equal(await (await app.request("/metrics")).text(), "tendon_test 1\n");
});

Deno.test("LearnerServer asks for a token outside loopback, before it binds", () => {
  const options = {
    host: "0.0.0.0",
    runName: "r",
    initialization: "checkpoint" as const,
    signature: {},
    initialWeights: { version: 0, tensors: [] },
    intake: () => ({ acceptedIds: [], duplicateIds: [] }),
    status: () => ({}),
    registry: { contentType: "text/plain", metrics: () => Promise.resolve("") },
    metrics: { accepted() {}, duplicates() {}, malformed() {}, refused() {} },
    logger: { info() {}, warn() {}, error() {} },
  };
  assert.throws(() => new LearnerServer(options), /Cannot listen on 0\.0\.0\.0 without a token/);
  assert.throws(() => new LearnerServer({ ...options, host: "::", token: "weak" }), RangeError);
});

Deno.test("LearnerServer.listen() says that a port is in use", async () => {
  await using learner = startLearner();
  assert.throws(() => startLearner({}, { port: learner.port }), /the port is in use/);
});

Deno.test("LearnerServer refuses chunks of weights that it never published, and says so", async () => {
  await using learner = startLearner();
  await using peer = await RawPeer.greeted(learner.url);
  const known = sampleTransition(0, { policyVersion: 1 });
  const unknown = [1, 2].map((index) => sampleTransition(index, { policyVersion: 2 }));
  peer.send({ type: "transitions", transitions: [unknown[0], known, unknown[1]] });
  const ack = await peer.receive("ack");
  assert.deepEqual([ack.chunkIds, ack.refusedIds], [["chunk-0"], ["chunk-1", "chunk-2"]]);
  assert.match(
    (await peer.receive("error")).sentence,
    /policyVersion: 2 was never published here, the newest version is 1/,
  );
  learner.server.publish(2, sampleTensors(2), 0.25);
  peer.send({ type: "weights_received", version: 1 });
  const weights = await peer.receive("weights");
  assert.deepEqual([weights.version, weights.progress], [2, 0.25]);
  peer.send({ type: "transitions", transitions: [sampleTransition(3, { policyVersion: 2 })] });
  assert.deepEqual((await peer.receive("ack")).chunkIds, ["chunk-3"]);
  assert.deepEqual(learner.counts, {
    ...{ accepted: 2, duplicates: 0, malformed: 2, refused: { version: 2 } },
  });
});

Deno.test("LearnerServer goes on after a batch of every kind of fault, each counted by its reason", async () => {
  await using learner = startLearner();
  await using peer = await RawPeer.greeted(learner.url);
  const { stepRewards } = sampleTransition(0);
  const faults: Partial<ChunkTransition>[] = [
    { stepRewards: stepRewards.slice(1) },
    { stepRewards: stepRewards.with(0, NaN) },
    { isTerminal: true, isCutShort: true },
    { logProb: 1 },
    { policyVersion: 9 },
    { value: NaN },
    { driver: "person" },
  ];
  const transitions = faults.map((fault, i) => sampleTransition(i, fault));
  transitions.splice(3, 0, sampleTransition(100), sampleTransition(101), sampleTransition(100));
  peer.send({ type: "transitions", transitions });
  const ack = await peer.receive("ack");
  assert.deepEqual([ack.chunkIds, ack.duplicateIds], [["chunk-100", "chunk-101"], ["chunk-100"]]);
  assert.deepEqual(ack.refusedIds.toSorted(), faults.map((_, i) => `chunk-${i}`));
  const refused = { shape: 1, reward: 1, end: 1, log_prob_range: 1, version: 1, fields: 1 };
  assert.deepEqual(learner.counts.refused, { ...refused, log_prob_length: 1 });
  const sentences = [];
  for (let i = 0; i < 7; i++) sentences.push((await peer.receive("error")).sentence);
  assert.ok(sentences.every((one) => one.startsWith("Cannot accept transition: ")));
});

Deno.test("LearnerServer takes accepted chunks back, and tells whoever sent them", async () => {
  await using learner = startLearner();
  await using peer = await RawPeer.greeted(learner.url);
  await using bystander = await RawPeer.greeted(learner.url, { ...HELLO, controllerId: "other" });
  peer.send({ type: "transitions", transitions: [sampleTransition(0), sampleTransition(1)] });
  assert.deepEqual((await peer.receive("ack")).chunkIds, ["chunk-0", "chunk-1"]);
  const refusal = (index: number, reason: "tokens" | "pictures") => ({
    chunkId: `chunk-${index}`,
    reason,
    sentence: `Cannot train on chunk "chunk-${index}": ${reason}`,
  });
  const both = [refusal(0, "tokens"), refusal(1, "pictures")];
  learner.server.refuse("bench-1", both);
  assert.deepEqual(await peer.receive("ack"), {
    type: "ack",
    chunkIds: [],
    duplicateIds: [],
    refusedIds: ["chunk-0", "chunk-1"],
  });
  for (const { sentence } of both) assert.equal((await peer.receive("error")).sentence, sentence);
  assert.deepEqual(learner.counts.refused, { tokens: 1, pictures: 1 });

  // Of those that nobody waits for it is enough to count them.
  learner.server.refuse("gone", [refusal(2, "tokens")]);
  learner.server.refuse(undefined, [refusal(3, "tokens")]);
  assert.deepEqual(learner.counts.refused, { tokens: 3, pictures: 1 });
  assert.equal(learner.counts.malformed, 4);
  // More than a message may name come in several.
  learner.server.refuse("bench-1", Array.from({ length: 1500 }, (_, i) => refusal(i, "tokens")));
  assert.equal((await peer.receive("ack")).refusedIds.length, 1024);
  assert.equal((await peer.receive("ack")).refusedIds.length, 476);
  // Nobody else has heard of it: the next thing said to the other is the answer to its own chunk.
  bystander.send({ type: "transitions", transitions: [sampleTransition(9)] });
  assert.deepEqual((await bystander.receive("ack")).chunkIds, ["chunk-9"]);
});
