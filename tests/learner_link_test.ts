/**
 * The controller's link against the learner's server, over real sockets.
 *
 * @module
 */
import assert from "node:assert/strict";
import { mersenne } from "pure-rand/generator/mersenne";
import { LearnerLink, type LearnerLinkOptions } from "../controller/learner_link.ts";
import { sampleTensors, sampleTransition } from "../common/wire/testing.ts";
import { LineLogger, startLearner, TEST_SIGNATURE } from "../learner/server/testing.ts";

const DEADLINE_MS = 5000;
const TOKEN = "0123456789abcdef0123";

class TestLink extends LearnerLink implements AsyncDisposable {
  readonly lines: string[];

  constructor(url: string, changes: Partial<LearnerLinkOptions> = {}) {
    const generator = mersenne(7);
    const logger = new LineLogger();
    super({
      url,
      controllerId: "bench-1",
      signature: TEST_SIGNATURE,
      random: () => (generator.next() >>> 0) / 2 ** 32,
      logger,
      backoffBaseMs: 2,
      backoffCapMs: 20,
      ...changes,
    });
    this.lines = logger.lines;
  }

  async expect(what: string, claim: () => boolean): Promise<void> {
    assert.ok(await this.until(claim, DEADLINE_MS), `${what}: ${JSON.stringify(this.counts())}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

Deno.test("LearnerLink receives weights, and the newest when it asks late", async () => {
  await using learner = startLearner();
  const versions: number[] = [];
  await using link = new TestLink(learner.url, {
    onWeights: ({ version }) => versions.push(version),
  });
  link.connect();
  await link.expect("first weights", () => versions.includes(1));
  learner.server.publish(2, sampleTensors(2));
  await link.expect("second weights", () => versions.includes(2));
  const latest = link.takeLatestWeights();
  assert.equal(latest?.version, 2);
  assert.deepEqual(latest?.tensors, sampleTensors(2));
  assert.equal(link.takeLatestWeights(), null);
});

Deno.test("LearnerLink gives all weights of a learner that sends those that change", async () => {
  const [frozen] = sampleTensors(0);
  const tensorsOf = (version: number) => [
    frozen,
    { ...sampleTensors(version)[0], name: "trained" },
  ];
  await using learner = startLearner({ initialWeights: { version: 1, tensors: tensorsOf(1) } });
  let newest = 0;
  await using link = new TestLink(learner.url, { onWeights: ({ version }) => newest = version });
  link.connect();
  // Nobody has taken the first ones when the second come, which lack a tensor.
  await link.expect("first weights", () => newest === 1);
  learner.server.publish(2, tensorsOf(2));
  await link.expect("second weights", () => newest === 2);
  const second = link.takeLatestWeights();
  assert.deepEqual(second, { version: 2, progress: 0, tensors: tensorsOf(2) });
  learner.server.publish(3, tensorsOf(3));
  await link.expect("third weights", () => newest === 3);
  const third = link.takeLatestWeights();
  assert.deepEqual(third, { version: 3, progress: 0, tensors: tensorsOf(3) });
  assert.equal(third?.tensors[0], second?.tensors[0]);
});

Deno.test("LearnerLink receives weights that are larger than a frame", async () => {
  const data = Float32Array.from({ length: 50_000 }, (_, at) => at / 8);
  const tensors = [{ name: "w", shape: [50, 1000], data }, ...sampleTensors(3)];
  await using learner = startLearner({
    maxFrameBytes: 65_536,
    initialWeights: { version: 1, tensors },
  });
  await using link = new TestLink(learner.url, { maxFrameBytes: 65_536 });
  link.connect();
  let latest = null;
  await link.expect("weights", () => (latest = link.takeLatestWeights()) !== null);
  assert.deepEqual(latest, { version: 1, progress: 0, tensors });
});

Deno.test("LearnerLink sends every chunk once, in order", async () => {
  await using learner = startLearner();
  await using link = new TestLink(learner.url, { windowChunks: 5, batchChunks: 2 });
  for (let index = 0; index < 20; index++) link.send(sampleTransition(index));
  link.connect();
  await link.expect("all acked", () => link.counts().acked === 20);
  assert.deepEqual(learner.accepted.map(({ chunkIndex }) => chunkIndex), [...Array(20).keys()]);
  assert.deepEqual(learner.accepted[7], sampleTransition(7));
  assert.deepEqual(link.counts(), {
    sent: 20,
    resent: 0,
    acked: 20,
    duplicates: 0,
    refused: 0,
    dropped: 0,
    reconnects: 0,
    queued: 0,
  });
});

Deno.test("LearnerLink counts what the learner refuses after it has acknowledged it", async () => {
  await using learner = startLearner();
  await using link = new TestLink(learner.url);
  link.connect();
  link.send(sampleTransition(0));
  await link.expect("acked", () => link.counts().acked === 1);
  const sentence = 'Cannot train on chunk "chunk-0": its tokens end too early';
  learner.server.refuse("bench-1", [{ chunkId: "chunk-0", reason: "tokens", sentence }]);
  await link.expect("refused", () => link.counts().refused === 1);
  await link.expect("told why", () => link.lines.includes(`The learner says: ${sentence}`));
  assert.equal(link.state, "connected");
});

Deno.test("LearnerLink loses and doubles nothing when the learner is restarted", async () => {
  const first = startLearner();
  await using link = new TestLink(first.url);
  link.connect();
  for (let index = 0; index < 10; index++) link.send(sampleTransition(index));
  await link.expect("first ten", () => link.counts().acked === 10);
  await first.server.close();
  await link.expect("outage noticed", () => link.state !== "connected");
  for (let index = 10; index < 25; index++) link.send(sampleTransition(index));
  assert.ok(link.hasCapacity(), "the robot keeps acting while the learner is away");
  await using second = startLearner({}, { port: first.port, dedup: first.dedup });
  await link.expect("rest", () => link.counts().acked === 25);
  const all = [...first.accepted, ...second.accepted];
  assert.deepEqual(all.map(({ chunkIndex }) => chunkIndex), [...Array(25).keys()]);
  assert.equal(link.counts().reconnects, 1);
});

Deno.test("LearnerLink takes older weights of a learner that went back, and loses chunks of lost ones", async () => {
  const first = startLearner({ initialWeights: { version: 10, tensors: sampleTensors(10) } });
  await using link = new TestLink(first.url);
  const taken = () => link.takeLatestWeights() ?? undefined;
  link.connect();
  await link.expect("weights", () => taken()?.version === 10);
  for (const version of [11, 12]) {
    first.server.publish(version, sampleTensors(version));
    await link.expect("newer weights", () => taken()?.version === version);
  }
  // Weights that come while nobody takes any must not be taken from the next life.
  first.server.publish(13, sampleTensors(13));
  const hasThem = () => first.server.controllers()[0]?.policyVersion === 13;
  while (!hasThem()) await link.until(() => false, 1);
  await first.server.close();
  await link.expect("outage noticed", () => link.state !== "connected");
  for (const policyVersion of [12, 10, 13]) {
    link.send(sampleTransition(policyVersion, { policyVersion }));
  }
  await using second = startLearner({
    initialWeights: { version: 14, tensors: sampleTensors(10) },
    isLostVersion: (version) => version > 10 && version < 14,
  }, { port: first.port });
  await link.expect("answers", () => link.counts().queued === 0 && link.lines.length > 0);
  assert.deepEqual([link.counts().acked, link.counts().refused], [1, 2]);
  assert.deepEqual(second.accepted.map(({ policyVersion }) => policyVersion), [10]);
  assert.deepEqual(second.counts.refused, { lost_version: 2 });
  const told = "policyVersion: 12 was lost when the learner went back to a checkpoint";
  await link.expect("told why", () => link.lines.some((line) => line.includes(told)));
  let weights = null;
  await link.expect("weights", () => (weights ??= link.takeLatestWeights()) !== null);
  assert.deepEqual(weights, { version: 14, progress: 0, tensors: sampleTensors(10) });
  link.send(sampleTransition(14, { policyVersion: 14 }));
  await link.expect("accepted", () => link.counts().acked === 2);
});

Deno.test("LearnerLink takes weights whose version is below its own", async () => {
  const first = startLearner({ initialWeights: { version: 12, tensors: sampleTensors(12) } });
  await using link = new TestLink(first.url);
  link.connect();
  await link.expect("weights", () => link.takeLatestWeights()?.version === 12);
  await first.server.close();
  await link.expect("outage noticed", () => link.state !== "connected");
  link.send(sampleTransition(0, { policyVersion: 12 }));
  await using second = startLearner(
    { initialWeights: { version: 10, tensors: sampleTensors(10) } },
    { port: first.port },
  );
  await link.expect("older weights", () => link.takeLatestWeights()?.version === 10);
  await link.expect("refused", () => link.counts().refused === 1);
  assert.deepEqual(second.counts.refused, { version: 1 });
});

Deno.test("LearnerLink loses and doubles nothing when the learner's process is killed", async () => {
  const seen = new Set<number>();
  const first = await LearnerProcess.start(0, 0, seen);
  await using link = new TestLink(first.url);
  link.connect();
  for (let index = 0; index < 40; index++) link.send(sampleTransition(index));
  await link.expect("some acked", () => link.counts().acked >= 8);
  await first.kill();
  for (let index = 40; index < 60; index++) link.send(sampleTransition(index));
  await using second = await LearnerProcess.start(first.port, seen.size, seen);
  await link.expect("all acked", () => link.counts().acked === 60);
  await second.kill();
  assert.deepEqual([...seen], [...Array(60).keys()]);
});

Deno.test("LearnerLink resends what a dying learner had accepted, and it is dropped there", async () => {
  // The learner accepts, and its connection breaks before the acknowledgement arrives.
  await using learner = startLearner();
  await using relay = new Relay(learner.port);
  await using link = new TestLink(relay.url, { heartbeatMs: 20, deadlineMs: 100 });
  link.connect();
  await link.expect("connected", () => link.state === "connected");
  relay.muteServer();
  for (let index = 0; index < 6; index++) link.send(sampleTransition(index));
  await link.expect("silence noticed", () => link.state !== "connected");
  relay.heal();
  await link.expect("all acked", () => link.counts().acked === 6);
  assert.deepEqual(learner.accepted.map(({ chunkIndex }) => chunkIndex), [0, 1, 2, 3, 4, 5]);
  const { resent, duplicates, queued } = link.counts();
  assert.deepEqual([resent, duplicates, queued], [6, 6, 0]);
  assert.ok(link.lines.some((line) => line.includes("silent for 100 ms")), link.lines.join("\n"));
});

Deno.test("LearnerLink drops the oldest chunks while the learner is away too long", async () => {
  const gone = startLearner();
  await gone.server.close();
  await using link = new TestLink(gone.url, { outboxCapacity: 4 });
  link.connect();
  for (let index = 0; index < 10; index++) link.send(sampleTransition(index));
  assert.equal(link.counts().dropped, 6);
  await using learner = startLearner({}, { port: gone.port });
  await link.expect("rest acked", () => link.counts().acked === 4);
  assert.deepEqual(learner.accepted.map(({ chunkIndex }) => chunkIndex), [6, 7, 8, 9]);
});

Deno.test("LearnerLink stops for good when it is refused, and says why", async () => {
  await using learner = startLearner();
  const signature = { ...TEST_SIGNATURE, tokenizer: "fast-zz" };
  await using link = new TestLink(learner.url, { signature });
  link.connect();
  const end = await link.ended;
  assert.equal(end.reason, "refused");
  assert.match(
    end.sentence,
    /tokenizer is "fast-a1" on the learner and "fast-zz" on the controller/,
  );
  assert.equal(link.state, "ended");
  assert.ok(!link.hasCapacity());
});

Deno.test("LearnerLink shows its token, and stops for good when that is wrong", async () => {
  await using learner = startLearner({ token: TOKEN });
  await using good = new TestLink(learner.url, { token: TOKEN });
  good.connect();
  await good.expect("connected", () => good.state === "connected");
  for (const token of [null, "wrong"]) {
    await using bad = new TestLink(learner.url, { token, controllerId: "bad" });
    bad.connect();
    const end = await bad.ended;
    assert.equal(end.reason, "refused");
    assert.match(end.sentence, /refused this controller's token \(HTTP 401\)/);
  }
});

Deno.test("LearnerLink refuses a learner for good, and takes none of its weights", async () => {
  await using learner = startLearner({ initialization: "random" });
  await using link = new TestLink(learner.url, {
    refuseLearner: ({ initialization }) => initialization === "random" ? "No random weights" : null,
  });
  link.connect();
  assert.deepEqual(await link.ended, { reason: "refused", sentence: "No random weights" });
  assert.equal(link.takeLatestWeights(), null);
});

Deno.test("LearnerLink keeps trying while the learner is full", async () => {
  await using learner = startLearner({ maxControllers: 1 });
  const first = new TestLink(learner.url);
  first.connect();
  await first.expect("connected", () => first.state === "connected");
  await using second = new TestLink(learner.url, { controllerId: "bench-2" });
  second.connect();
  await second.expect("refused for now", () => second.state === "waiting");
  await first.close();
  await second.expect("connected", () => second.state === "connected");
});

Deno.test("LearnerLink has no capacity while the learner is busy or the window is full", async () => {
  await using learner = startLearner();
  await using link = new TestLink(learner.url, { windowChunks: 2 });
  link.connect();
  await link.expect("connected", () => link.state === "connected");
  assert.ok(link.hasCapacity());
  link.send(sampleTransition(0));
  link.send(sampleTransition(1));
  assert.ok(!link.hasCapacity());
  await link.expect("acked", () => link.hasCapacity());
  learner.server.setBusy(true);
  await link.expect("busy", () => !link.hasCapacity());
  learner.server.setBusy(false);
  await link.expect("resumed", () => link.hasCapacity());
});

Deno.test("LearnerLink ends when the learner's run is over", async () => {
  const learner = startLearner();
  await using link = new TestLink(learner.url);
  link.connect();
  await link.expect("connected", () => link.state === "connected");
  await learner.server.close({ runOver: "All 40 updates are done" });
  assert.deepEqual(await link.ended, { reason: "run_over", sentence: "All 40 updates are done" });
});

Deno.test("LearnerLink.send() refuses a chunk that is not valid or too large", async () => {
  await using link = new TestLink("ws://127.0.0.1:1/ws", { maxFrameBytes: 65_536 });
  assert.throws(() => link.send(sampleTransition(0, { logProb: NaN })), /logProb/);
  const tokens = new Int32Array(8192);
  const prompt = "x".repeat(4096);
  const { images, state } = sampleTransition(0).observation;
  const image = { width: 100, height: 100, data: new Uint8Array(30_000) };
  const observation = { images: { ...images, cam_high: image }, state, prompt };
  const large = { tokens, observation, logProb: 0, tokenLogProbs: new Float32Array(8192) };
  assert.throws(
    () => link.send(sampleTransition(0, large)),
    /Cannot send chunk: it has up to \d+ bytes, the limit of a frame is 65536/,
  );
  assert.equal(link.counts().queued, 0);
});

Deno.test("LearnerLink refuses an address that is none", () => {
  for (const url of ["127.0.0.1:8080", "http://127.0.0.1/ws", "ws://"]) {
    assert.throws(() => new TestLink(url).connect(), /it must be a URL such as/);
  }
});

Deno.test("LearnerLink.close() ends a link in any state", async () => {
  const idle = new TestLink("ws://127.0.0.1:1/ws");
  await idle.close();
  const connecting = new TestLink("ws://127.0.0.1:1/ws");
  connecting.connect();
  await connecting.close();
  const waiting = new TestLink("ws://127.0.0.1:1/ws", { backoffBaseMs: 10_000 });
  waiting.connect();
  await waiting.expect("waiting", () => waiting.state === "waiting");
  await waiting.close();
  for (const link of [idle, connecting, waiting]) {
    assert.equal((await link.ended).reason, "closed");
  }
});

/** A learner in a process of its own, which can be killed. It prints the chunks that it accepts. */
class LearnerProcess implements AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  #isDead = false;

  private constructor(child: Deno.ChildProcess, port: number, reading: Promise<void>) {
    this.#child = child;
    this.port = port;
    this.url = `ws://127.0.0.1:${port}/ws`;
    this.#reading = reading;
  }

  /** @param known Chunks below this number count as accepted before, as after a resume. */
  static async start(port: number, known: number, seen: Set<number>): Promise<LearnerProcess> {
    const script = new URL("./killable_learner.ts", import.meta.url).pathname;
    const flags = ["run", "--no-check", "--allow-net=127.0.0.1", "--allow-env", "--allow-sys"];
    const child = new Deno.Command(Deno.execPath(), {
      args: [...flags, "--allow-read", script, String(port), String(known)],
      stdout: "piped",
    }).spawn();
    const started = Promise.withResolvers<number>();
    const reading = (async () => {
      for await (const line of lines(child.stdout)) {
        const [what, number] = line.split(" ");
        if (what === "port") started.resolve(Number(number));
        else {
          assert.ok(!seen.has(Number(number)), `chunk ${number} was accepted twice`);
          seen.add(Number(number));
        }
      }
      started.reject(new Error("the learner's process ended"));
    })();
    started.promise.catch(() => {});
    return new LearnerProcess(child, await started.promise, reading);
  }

  async kill(): Promise<void> {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#reading;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

async function* lines(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    yield* parts;
  }
}

/** A TCP relay that can swallow what the server says: a peer that is there but answers nothing. */
class Relay implements AsyncDisposable {
  readonly url: string;
  readonly #listener: Deno.TcpListener;
  readonly #targetPort: number;
  readonly #connections = new Set<Deno.TcpConn>();
  readonly #pumps: Promise<void>[] = [];
  readonly #accepting: Promise<void>;
  #isMuted = false;

  constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.url = `ws://127.0.0.1:${this.#listener.addr.port}/ws`;
    this.#accepting = this.#accept();
  }

  muteServer(): void {
    this.#isMuted = true;
  }

  heal(): void {
    this.#isMuted = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) close(connection);
    await this.#accepting;
    await Promise.all(this.#pumps);
  }

  async #accept(): Promise<void> {
    try {
      for await (const client of this.#listener) {
        const server = await Deno.connect({ hostname: "127.0.0.1", port: this.#targetPort });
        this.#connections.add(client).add(server);
        this.#pumps.push(this.#pump(client, server, () => false));
        this.#pumps.push(this.#pump(server, client, () => this.#isMuted));
      }
    } catch {
      // Closing the listener while it accepts.
    }
  }

  async #pump(from: Deno.TcpConn, to: Deno.TcpConn, isMuted: () => boolean): Promise<void> {
    const buffer = new Uint8Array(65_536);
    try {
      for (let read = await from.read(buffer); read !== null; read = await from.read(buffer)) {
        for (let at = 0; at < read && !isMuted();) at += await to.write(buffer.subarray(at, read));
      }
    } catch {
      // The other end has gone.
    }
    close(from);
    close(to);
  }
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // Closed before.
  }
}
