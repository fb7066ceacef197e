import assert from "node:assert/strict";
import fc from "fast-check";
import { PRESETS } from "../config/presets.ts";
import { CONFIG_FIELDS } from "../config/schema.ts";
import { type Command, kebabCase, type OwnFlags } from "./command.ts";
import { parseCommand, UsageError } from "./flags.ts";

const TRAIN = {
  name: "deno task demo",
  summary: "Train.",
  preset: "demo",
  flags: {
    json: { kind: "boolean", default: false, description: "End with JSON." },
    evalEpisodes: {
      kind: "integer",
      default: 100,
      minimum: 1,
      maximum: 1000,
      unit: "episodes",
      description: "Episodes.",
    },
    offset: { kind: "number", default: 0, description: "Any number." },
    out: { kind: "string", default: "", unit: "path", description: "Where to." },
    split: { kind: "choice", choices: ["train", "held_out"], default: "train", description: "W." },
  },
} as const satisfies Command<OwnFlags>;

function run(...args: string[]) {
  const parsed = parseCommand(TRAIN, args);
  assert.ok(parsed.kind === "run");
  return parsed;
}

function refusal(...args: string[]): string {
  try {
    parseCommand(TRAIN, args);
  } catch (error) {
    assert.ok(error instanceof UsageError, String(error));
    assert.doesNotMatch(error.message, /\n/);
    return error.message;
  }
  return assert.fail("nothing was thrown");
}

Deno.test("parseCommand() without arguments gives the preset and the defaults", () => {
  const { config, flags, given, preset } = run();
  assert.equal(preset, "demo");
  assert.deepEqual(config, PRESETS.demo);
  assert.deepEqual(flags, { json: false, evalEpisodes: 100, offset: 0, out: "", split: "train" });
  assert.equal(given.size, 0);
});

Deno.test("parseCommand() takes every spelling of a flag", () => {
  for (
    const args of [["--exp-name", "a_b"], ["--exp-name=a_b"], ["--exp_name", "a_b"], [
      "--exp_name=a_b",
    ]]
  ) {
    const { config, given } = run(...args);
    assert.equal(config.expName, "a_b");
    assert.deepEqual([...given], ["expName"]);
  }
  for (const args of [["--no-wandb"], ["--no_wandb"], ["--wandb=false"]]) {
    assert.equal(run(...args).config.wandb, false);
  }
  assert.equal(run("--resume").config.resume, true);
  assert.equal(run("--json").flags.json, true);
  assert.equal(run("--json", "--no-json").flags.json, false);
});

Deno.test("parseCommand() reads numbers of every form", () => {
  assert.equal(run("--learning-rate", "1e-4").config.learningRate, 1e-4);
  assert.equal(run("--clip-range=.25").config.clipRange, 0.25);
  assert.equal(run("--offset", "-2.5").flags.offset, -2.5);
  assert.equal(run("--offset=-1e3").flags.offset, -1000);
  assert.equal(run("--port", "0").config.port, 0);
  assert.equal(run("--action-dim", "7").config.actionDim, 7);
  for (const text of ["", " ", "1x", "0x10", "Infinity", "NaN", "1_000"]) {
    assert.match(refusal("--offset", text), /^Invalid --offset: it is ".*", but it takes a number/);
  }
});

Deno.test("parseCommand() begins with the preset that --config names", () => {
  const { config, preset } = run("--config", "debug", "--seed=3");
  assert.equal(preset, "debug");
  assert.deepEqual(config, { ...PRESETS.debug, seed: 3 });
});

Deno.test("parseCommand() passes over the separator of a task runner", () => {
  assert.equal(run("--", "--seed", "4").config.seed, 4);
});

Deno.test("parseCommand() lets the last of two equal flags count", () => {
  assert.equal(run("--seed", "1", "--seed", "2").config.seed, 2);
});

Deno.test("parseCommand() says what is wrong with a command line", async (t) => {
  const cases: readonly [string[], RegExp][] = [
    [["--gama", "1"], /^Unknown flag --gama: did you mean --gamma, or run deno task demo --help/],
    [["--expName", "x"], /did you mean --exp-name/],
    [["--no-resumee"], /did you mean --no-resume\b/],
    [["--no-seed"], /^Unknown flag --no-seed/],
    [["--zzzqqq"], /^Unknown flag --zzzqqq: run deno task demo --help for the list\.$/],
    [["-x"], /^Unknown flag -x/],
    [["--constructor"], /^Unknown flag --constructor/],
    [["--gamma", "1.5"], /^Invalid --gamma: it is 1.5, but it takes a number from 0 to 1/],
    [
      ["--seed", "-1"],
      /^Invalid --seed: it is -1, but it takes an integer from 0 to 4294967295\.$/,
    ],
    [["--seed", "1.5"], /^Invalid --seed: it is 1.5, but it takes an integer/],
    [["--eval-episodes", "0"], /^Invalid --eval-episodes: it is 0, .* from 1 to 1000 \(episodes\)/],
    [["--split", "all"], /^Invalid --split: it is "all", but it takes one of train, held_out/],
    [["--action-dim", "8"], /it takes one of 7, 14/],
    [["--json=yes"], /^Invalid --json: it is "yes", but it takes true or false/],
    [["--no-json=true"], /^--no-json takes no value, but was given true/],
    [
      ["--config", "demoo"],
      /^Unknown preset "demoo": --config takes one of debug, full, demo, transfer_cube; did/,
    ],
    [["--config"], /^--config needs a value: it takes one of debug, full, demo, transfer_cube/],
    [["--horizon", "--seed", "3"], /^--horizon needs a value: it takes an integer from 1 to 100/],
    [["--seed"], /^--seed needs a value/],
    [["--exp-name", "a/b"], /--exp-name is "a\/b", but it takes a name of at most 80/],
    [["--batch-size", "1200"], /--batch-size is 1200, but an update has only 512 chunks/],
    [["--host", "0.0.0.0"], /name a file that holds one with --token-file/],
    [["train"], /^Unexpected argument "train": write values as --flag VALUE/],
    [["--resume", "true"], /^Unexpected argument "true"/],
  ];
  for (const [args, message] of cases) {
    await t.step(args.join(" "), () => assert.match(refusal(...args), message));
  }
});

Deno.test("parseCommand() takes only the fields that a command declares", () => {
  const command = { ...TRAIN, fields: ["seed"] } as const;
  const parsed = parseCommand(command, ["--seed", "9"]);
  assert.ok(parsed.kind === "run");
  assert.deepEqual(parsed.config, { ...PRESETS.demo, seed: 9 });
  assert.throws(
    () => parseCommand(command, ["--gamma", "0.9"]),
    /^UsageError: Unknown flag --gamma/,
  );
});

Deno.test("parseCommand() refuses to declare a flag that the configuration has", () => {
  const command = {
    ...TRAIN,
    flags: { seed: { kind: "integer", default: 1, description: "S." } },
  } as const;
  assert.throws(() => parseCommand(command, []), TypeError);
});

Deno.test("parseCommand() shows every flag with default, unit and meaning on --help", () => {
  const parsed = parseCommand(TRAIN, ["--help"]);
  assert.ok(parsed.kind === "help");
  const text = parsed.text.replace(/\s+/g, " ");
  for (const { name, kind, description } of CONFIG_FIELDS) {
    const flag = `--${kind === "boolean" ? "[no-]" : ""}${kebabCase(name)}`;
    const value = PRESETS.demo[name];
    const line = text.slice(text.indexOf(`${flag} `));
    assert.ok(text.includes(`${flag} `), flag);
    assert.ok(
      line.startsWith(`${flag} `) && line.includes(
        `${description} [default ${value === "" ? "empty" : value}`,
      ),
      `${flag}: ${line.slice(0, 200)}`,
    );
  }
  assert.match(
    text,
    /--eval-episodes N Episodes\. \[default 100 episodes; an integer from 1 to 1000\]/,
  );
  assert.ok(parsed.text.split("\n").every((line) => line.length <= 100));
});

Deno.test("parseCommand() shows the defaults of the chosen preset on --help", () => {
  const parsed = parseCommand(TRAIN, ["-h", "--config=full"]);
  assert.ok(parsed.kind === "help");
  assert.match(parsed.text, /--horizon N\n.*\[default 16 control steps/);
  assert.match(parsed.text, /--variant .*\n.*\[default gemma_2b\]/);
});

Deno.test("parseCommand() answers any arguments with a result or a UsageError", () => {
  const word = fc.oneof(
    fc.constantFrom("--seed", "--gamma=0.5", "--no-wandb", "--", "-h", "--out", "--config", "-1"),
    fc.string({ maxLength: 6 }),
    fc.string({ maxLength: 6 }).map((text) => `--${text}`),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 5 }), (args) => {
      try {
        parseCommand(TRAIN, args);
      } catch (error) {
        assert.ok(error instanceof UsageError, String(error));
      }
    }),
    { numRuns: 500, seed: 4 },
  );
});
