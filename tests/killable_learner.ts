/**
 * A learner for tests that kill it: prints its port, then the index of every chunk it accepts. A
 * chunk counts as accepted once it is printed, as it would once it is on disk.
 *
 * @module
 */
import { ChunkDedup, createIntake } from "../learner/server/dedup.ts";
import { startLearner } from "../learner/server/testing.ts";

const [port, known] = Deno.args.map(Number);
const print = (line: string) => Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));

const dedup = new ChunkDedup(1000, Array.from({ length: known }, (_, index) => `chunk-${index}`));
const intake = createIntake(dedup, ({ chunkIndex }) => print(`chunk ${chunkIndex}`));
print(`port ${startLearner({ intake }, { port }).port}`);
