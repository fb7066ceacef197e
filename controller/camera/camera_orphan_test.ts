import assert from "node:assert/strict";
import { ffmpegTest, isAlive } from "./testing.ts";

const DEADLINE_MS = 15_000;

ffmpegTest("Camera's ffmpeg ends by itself when the controller is killed", async () => {
  // Its pictures come from here, through a named pipe: when ffmpeg is gone, writing to it fails.
  const folder = await Deno.makeTempDir();
  const fifo = `${folder}/camera`;
  assert.ok((await new Deno.Command("mkfifo", { args: [fifo] }).output()).success);
  const url = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
  const input = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", "64x48", "-i", fifo];
  const source = `
    import { Camera } from ${url("./camera.ts")};
    import { parseCameraConfig } from ${url("./camera_config.ts")};
    import { createFrameMemory, FrameWriter } from ${url("./latest_frame.ts")};
    const source = { kind: "ffmpeg", arguments: ${JSON.stringify(input)} };
    const config = parseCameraConfig({ name: "cam_high", source, width: 64, height: 48 });
    const writer = new FrameWriter(createFrameMemory(config));
    const onChange = (status) => console.log(status.pid);
    new Camera({ config, writer, random: () => 0, now: () => performance.now(), onChange });`;
  const controller = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--ext=ts", source],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const camera = await Deno.open(fifo, { write: true }); // waits for ffmpeg
  const ended = (async () => {
    const picture = new Uint8Array(64 * 48 * 3).fill(100);
    while (true) await camera.write(picture);
  })().catch((error: Error) => error);
  const reader = controller.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const pid = Number((await reader.read()).value);
  assert.ok(isAlive(pid));
  let isLate = false;
  const deadline = setTimeout(() => {
    isLate = true;
    Deno.kill(pid, "SIGKILL");
  }, DEADLINE_MS);
  controller.kill("SIGKILL");
  assert.equal((await ended).name, "BrokenPipe");
  assert.equal(isLate, false);
  clearTimeout(deadline);
  camera.close();
  await controller.status;
  await reader.cancel();
  await Deno.remove(folder, { recursive: true });
});
