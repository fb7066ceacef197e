/**
 * `deno task fidelity`: how far Tendon's numbers are from openpi's, item by item and backend by
 * backend. What openpi computed is in tests/fixtures/openpi, written by its own JAX code
 * (`scripts/goldens/openpi_golden.py`); the tests assert the same items.
 *
 * @module
 */

import { parseCommand } from "../common/cli/flags.ts";
import { runMain } from "../common/cli/main.ts";
import { useDevice } from "../common/policy/backend.ts";
import {
  type Backend,
  BACKENDS,
  type FidelityItem,
  toleranceOn,
  whyNoWebgpu,
} from "../tests/openpi/fidelity_item.ts";
import { GEMMA_ITEMS, SIGLIP_ITEMS } from "../tests/openpi/network_items.ts";
import { TRANSFORM_ITEMS } from "../tests/openpi/transform_items.ts";
import { textTable } from "../common/cli/text_table.ts";

const ITEMS: readonly FidelityItem[] = [...SIGLIP_ITEMS, ...GEMMA_ITEMS, ...TRANSFORM_ITEMS];

const COMMAND = {
  name: "deno task fidelity",
  summary: "Measure how far Tendon's numbers are from openpi's, on every backend there is.",
  preset: "demo",
  fields: [],
  flags: {
    markdown: {
      kind: "boolean",
      default: false,
      description: "Print a Markdown table instead of one for the terminal.",
    },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

/** Differences of one item by backend; `plain` where no tensor is involved. */
type Differences = Partial<Record<Backend | "plain", number>>;

async function measureAll(
  backends: readonly Backend[],
  signal: AbortSignal,
): Promise<Map<FidelityItem, Differences>> {
  const found = new Map<FidelityItem, Differences>(ITEMS.map((item) => [item, {}]));
  for (const item of ITEMS.filter((i) => !i.usesTensors)) {
    found.get(item)!.plain = await item.measure();
  }
  for (const backend of backends) {
    await useDevice(backend);
    for (const item of ITEMS.filter((i) => i.usesTensors)) {
      signal.throwIfAborted();
      found.get(item)![backend] = await item.measure();
    }
  }
  return found;
}

/** Two digits; whole numbers as they are. */
function shown(x: number | undefined): string {
  if (x === undefined) return "–";
  return Number.isInteger(x) ? String(x) : x.toExponential(1);
}

function rowOf(item: FidelityItem, differences: Differences): string[] {
  const { tolerance, webgpuTolerance } = item;
  const allowed = webgpuTolerance === undefined
    ? shown(tolerance)
    : `${shown(tolerance)} (webgpu ${shown(webgpuTolerance)})`;
  const columns = item.usesTensors
    ? BACKENDS.map((backend) => shown(differences[backend]))
    : [shown(differences.plain), "", ""];
  return [item.name, item.reference, item.unit, allowed, ...columns];
}

function markdownTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

async function main(signal: AbortSignal): Promise<void> {
  const parsed = parseCommand(COMMAND, Deno.args);
  if (parsed.kind === "help") return console.log(parsed.text);
  const reason = await whyNoWebgpu();
  const backends = BACKENDS.filter((backend) => backend !== "webgpu" || reason === undefined);
  const found = await measureAll(backends, signal);
  const rows = [...found].map(([item, differences]) => rowOf(item, differences));
  const header = ["item", "reference (openpi src)", "measure", "tolerance", ...BACKENDS];
  console.log(parsed.flags.markdown ? markdownTable(header, rows) : textTable(header, rows));
  if (reason) console.log(`webgpu was not measured: ${reason}.`);
  else {
    const { info } = (await navigator.gpu.requestAdapter())!;
    console.log(`webgpu was measured on ${info.description || info.device || info.vendor}.`);
  }
  const failed = [...found].filter(([item, differences]) =>
    Object.entries(differences).some(([backend, x]) =>
      !(x <= toleranceOn(item, backend === "plain" ? "cpu" : backend as Backend))
    )
  );
  if (failed.length > 0) {
    throw new Error(
      `${failed.length} of ${ITEMS.length} items are beyond their tolerance: ` +
        failed.map(([item]) => item.name).join("; "),
    );
  }
}

if (import.meta.main) await runMain(main);
