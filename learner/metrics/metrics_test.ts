import assert from "node:assert/strict";
import type { Logger } from "../../common/types.ts";
import type { UpdateRecord } from "../train_loop.ts";
import { flattenRecord } from "./flatten_record.ts";
import { JsonlSink } from "./jsonl.ts";
import { LearnerMetrics } from "./prometheus.ts";
import { combineSinks, type MetricsSink } from "./sink.ts";

function keepLines(): Logger & { lines: string[] } {
  const lines: string[] = [];
  const keep = (message: string) => void lines.push(message);
  return { lines, info: keep, warn: keep, error: keep };
}

async function inTempFile(body: (path: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(`${folder}/metrics.jsonl`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** An update of which only the given fields matter. */
const RECORD = {
  update: 1,
  policyVersion: 1,
  behaviourKl: null,
  malformedChunks: 3,
  chunkFaults: { pictures: 1, tokens: 2 },
  firstFault: "too many tokens",
} as UpdateRecord;

const options = { logger: keepLines(), nowMs: () => 0 };

Deno.test("JsonlSink appends one line a record, over several runs", async () => {
  await inTempFile(async (path) => {
    const first = new JsonlSink(path, options);
    first.log(1, { policyLoss: 0.5, valueLoss: NaN });
    await first.close();
    const second = new JsonlSink(path, options);
    second.log(2, { policyLoss: 0.25, note: "a\nb" });
    await second.close();
    await second.close();
    assert.equal(
      await Deno.readTextFile(path),
      '{"step":1,"time":"1970-01-01T00:00:00.000Z","policyLoss":0.5,"valueLoss":null}\n' +
        '{"step":2,"time":"1970-01-01T00:00:00.000Z","policyLoss":0.25,"note":"a\\nb"}\n',
    );
  });
});

Deno.test("JsonlSink cuts an unfinished last line off, however long", async () => {
  for (
    const [before, kept] of [
      ['{"step":1}\n{"step":2,"pol', '{"step":1}\n'],
      ['{"step":1}\n', '{"step":1}\n'],
      ['{"st', ""],
      ["", ""],
      [`{"step":1}\n${"x".repeat(200_000)}`, '{"step":1}\n'],
      [`${"é".repeat(100_000)}\n{`, `${"é".repeat(100_000)}\n`],
    ]
  ) {
    await inTempFile(async (path) => {
      await Deno.writeTextFile(path, before);
      const sink = new JsonlSink(path, options);
      sink.log(3, {});
      await sink.close();
      const line = '{"step":3,"time":"1970-01-01T00:00:00.000Z"}\n';
      assert.ok(await Deno.readTextFile(path) === kept + line, before.slice(0, 20));
    });
  }
});

Deno.test("JsonlSink names a file that cannot be opened", () => {
  assert.throws(
    () => new JsonlSink("/nowhere/metrics.jsonl", options),
    /Cannot open the metrics file \/nowhere\/metrics\.jsonl: /,
  );
});

Deno.test("JsonlSink warns instead of throwing after its end", async () => {
  await inTempFile(async (path) => {
    const logger = keepLines();
    const sink = new JsonlSink(path, { logger });
    await sink.close();
    sink.log(9, {});
    assert.match(logger.lines[0], /Cannot write step 9 .* the sink is closed/);
  });
});

Deno.test("LearnerMetrics shows updates, counts and live numbers", async () => {
  let controllers = 2;
  const metrics = new LearnerMetrics(() => ({ controllers, policyVersion: 7 }));
  metrics.accepted(10);
  metrics.accepted(5);
  metrics.duplicates(3);
  metrics.malformed(1);
  metrics.refused("log_prob_sum", 2);
  metrics.log(1, { policyLoss: -0.5, successRate: 0.75, unknownKey: 3, note: "x" });
  controllers = 1;
  const text = await metrics.metrics();
  for (
    const line of [
      "tendon_learner_chunks_accepted_total 15",
      "tendon_learner_chunks_duplicate_total 3",
      "tendon_learner_malformed_total 1",
      'tendon_learner_chunks_refused_total{reason="log_prob_sum"} 2',
      'tendon_learner_chunks_refused_total{reason="log_prob_length"} 0',
      "tendon_learner_updates_total 1",
      "tendon_learner_policy_loss -0.5",
      "tendon_learner_success_rate 0.75",
      "tendon_learner_controllers 1",
      "tendon_learner_policy_version 7",
    ]
  ) assert.ok(text.split("\n").includes(line), `${line} is not in\n${text}`);
  assert.ok(!text.includes("unknownKey"));
});

Deno.test("LearnerMetrics tells behaviour gaps apart by precision and decoder", async () => {
  const metrics = new LearnerMetrics(() => ({ controllers: 0, policyVersion: 0 }));
  const int8 = { precision: "int8", decoder: "engine", chunks: 2, tokens: 60 } as const;
  const gap = { ...int8, mean: 0.01, max: 0.25, kl: 0.001 };
  const float32 = { ...gap, precision: "float32", decoder: "wasm", mean: 1e-5 } as const;
  const first = flattenRecord({ ...RECORD, behaviourGaps: [gap, float32] });
  assert.ok(!("behaviourGaps" in first || "chunkFaults" in first || "firstFault" in first));
  assert.deepEqual([first["malformedChunks.pictures"], first["malformedChunks.tokens"]], [1, 2]);
  assert.equal(first["behaviourGapMax.int8.engine"], 0.25);
  metrics.log(1, first);
  // An update without chunks to compare leaves the last gap as it was.
  metrics.log(2, flattenRecord({ ...RECORD, behaviourGaps: [] }));
  metrics.log(3, flattenRecord({ ...RECORD, behaviourGaps: [{ ...gap, mean: 0.02 }] }));
  const text = await metrics.metrics();
  for (
    const line of [
      'tendon_learner_behaviour_gap_mean_nats{precision="int8",decoder="engine"} 0.02',
      'tendon_learner_behaviour_gap_mean_nats{precision="float32",decoder="wasm"} 0.00001',
      'tendon_learner_behaviour_gap_max_nats{precision="int8",decoder="engine"} 0.25',
      'tendon_learner_behaviour_kl_nats{precision="int8",decoder="engine"} 0.001',
      'tendon_learner_behaviour_gap_tokens_total{precision="int8",decoder="engine"} 120',
      'tendon_learner_behaviour_gap_tokens_total{precision="float32",decoder="wasm"} 60',
    ]
  ) assert.ok(text.split("\n").includes(line), `${line} is not in\n${text}`);
});

Deno.test("LearnerMetrics keeps its own registry", async () => {
  const live = () => ({ controllers: 0, policyVersion: 0 });
  const [first, second] = [new LearnerMetrics(live), new LearnerMetrics(live)];
  first.accepted(1);
  assert.match(await second.metrics(), /^tendon_learner_chunks_accepted_total 0$/m);
});

Deno.test("combineSinks() goes on when a sink fails", async () => {
  const logger = keepLines();
  const seen: number[] = [];
  const broken: MetricsSink = {
    log() {
      throw new Error("no disk");
    },
    close: () => Promise.reject(new Error("no disk either")),
  };
  const fine: MetricsSink = {
    log: (step) => void seen.push(step),
    close: () => Promise.resolve(void seen.push(-1)),
  };
  const both = combineSinks([broken, fine], logger);
  both.log(1, {});
  await both.close();
  assert.deepEqual(seen, [1, -1]);
  assert.deepEqual(logger.lines, [
    "A metrics sink failed: no disk",
    "A metrics sink failed: no disk either",
  ]);
});
