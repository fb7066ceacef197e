/**
 * Says in one sentence why a camera gives no pictures, and what to do about it.
 *
 * @module
 */

import { type CameraConfig, describeSource } from "./camera_config.ts";

/** Bytes of ffmpeg's complaints that are kept: the last ones say why it ended. */
const MAX_TAIL_BYTES = 4096;

/** What the last line of ffmpeg means for the person at the robot. */
const ADVICE: readonly [RegExp, string][] = [
  [/No such file or directory/i, "plug it in or name another device"],
  [/No such device/i, "it was unplugged: check the cable"],
  [/Device or resource busy/i, "close the program that uses it"],
  [/Permission denied/i, "add the user to the group video"],
  [/Inappropriate ioctl/i, "it is no camera: name another device"],
  [/Invalid argument|not supported/i, "choose another pixelFormat, size or rate"],
  [/Input\/output error/i, "check the cable and the power of its USB hub"],
];

/**
 * Why a camera's ffmpeg has ended.
 *
 * @param config Settings of the camera.
 * @param reason What happened, such as "ffmpeg ended with exit code 1".
 * @param lastLine Last line of ffmpeg's complaints; may be empty.
 * @returns One sentence without a full stop.
 */
export function describeFailure(config: CameraConfig, reason: string, lastLine: string): string {
  const advice = ADVICE.find(([pattern]) => pattern.test(lastLine))?.[1];
  const quoted = lastLine === "" ? "" : ` (${lastLine})`;
  return `${config.name} (${describeSource(config.source)}) has failed: ${reason}${quoted}` +
    (advice === undefined ? "" : `; ${advice}`);
}

/**
 * Why ffmpeg could not even be started.
 *
 * @param config Settings of the camera.
 * @param ffmpeg The program that was called.
 * @param error What the start threw.
 * @returns One sentence without a full stop.
 */
export function describeStartFailure(
  config: CameraConfig,
  ffmpeg: string,
  error: unknown,
): string {
  const start = `Cannot open ${config.name} (${describeSource(config.source)}): `;
  if (error instanceof Deno.errors.NotFound) {
    return `${start}there is no program ${JSON.stringify(ffmpeg)}; install ffmpeg, on Debian and ` +
      "Ubuntu with `apt install ffmpeg`";
  }
  if (error instanceof Deno.errors.NotCapable) {
    return `${start}the controller may not start ${JSON.stringify(ffmpeg)}; run it with ` +
      `--allow-run=${ffmpeg}`;
  }
  return `${start}${error instanceof Error ? error.message : String(error)}`;
}

/**
 * Read a stream of text to its end and keep its last line.
 *
 * @param stream What ffmpeg complains about, UTF-8.
 * @returns The last line that is not empty, of at most 4 KiB, without the address that ffmpeg puts in
 *   front; empty if there is none.
 */
export async function lastLineOf(stream: ReadableStream<Uint8Array>): Promise<string> {
  let tail = new Uint8Array();
  for await (const chunk of stream) {
    const joined = new Uint8Array(tail.length + chunk.length);
    joined.set(tail);
    joined.set(chunk, tail.length);
    tail = joined.slice(-MAX_TAIL_BYTES);
  }
  const lines = new TextDecoder().decode(tail).split(/[\r\n]+/).map((line) => line.trim());
  const last = lines.findLast((line) => line !== "") ?? "";
  return last.replace(/^\[[^\]]* @ 0x[0-9a-f]+\]\s*/, "");
}
