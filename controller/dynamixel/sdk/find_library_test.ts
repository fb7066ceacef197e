import assert from "node:assert/strict";
import { findDxlLibrary, isFile } from "./find_library.ts";

const search = (files: readonly string[], more: Record<string, string> = {}) =>
  findDxlLibrary({
    os: "linux",
    arch: "x86_64",
    isFile: (path) => files.includes(path),
    ...more,
  });

Deno.test("findDxlLibrary() takes the flag before the variable before the usual places", () => {
  const usual = "/usr/local/lib/libdxl_x64_c.so";
  const files = ["/a.so", "/b.so", usual];
  assert.deepEqual(search(files, { flag: "/a.so", variable: "/b.so" }), {
    path: "/a.so",
    origin: "flag",
  });
  assert.deepEqual(search(files, { flag: "", variable: "/b.so" }), {
    path: "/b.so",
    origin: "variable",
  });
  assert.deepEqual(search(files), { path: usual, origin: "usual place" });
});

Deno.test("findDxlLibrary() knows each system's name of the library", () => {
  const rows = [
    ["linux", "aarch64", "/usr/lib/aarch64-linux-gnu/libdxl_sbc_c.so"],
    ["linux", "x86_64", "/usr/lib/x86_64-linux-gnu/libdxl_x64_c.so"],
    ["darwin", "aarch64", "/usr/local/lib/libdxl_mac_c.dylib"],
    ["windows", "x86_64", "C:/Windows/System32/dxl_x64_c.dll"],
  ] as const;
  for (const [os, arch, path] of rows) assert.equal(search([path], { os, arch }).path, path);
  assert.equal(search(["/usr/local/lib/libdxl_x64_c.so"], { arch: "aarch64" }).path, undefined);
});

Deno.test("findDxlLibrary() says what to install, from where, and which flag to set", () => {
  const finding = search([]);
  assert.ok(finding.path === undefined);
  assert.match(finding.sentence, /libdxl_x64_c\.so is not in \/usr\/local\/lib/);
  assert.match(finding.sentence, /github\.com\/ROBOTIS-GIT\/DynamixelSDK/);
  assert.match(finding.sentence, /--dxl-library or TENDON_DXL_LIBRARY/);
  const unknown = search([], { os: "freebsd" });
  assert.ok(unknown.path === undefined && /in any known place/.test(unknown.sentence));
});

Deno.test("findDxlLibrary() puts nothing in the place of what a person has named", () => {
  const finding = search(["/usr/local/lib/libdxl_x64_c.so"], { flag: "/not/there.so" });
  assert.ok(finding.path === undefined);
  assert.match(finding.sentence, /--dxl-library names \/not\/there\.so, and there is no such file/);
});

Deno.test("isFile() is false for folders and for nothing", () => {
  assert.equal(isFile(new URL(import.meta.url).pathname), true);
  assert.equal(isFile("/"), false);
  assert.equal(isFile("/not/there"), false);
});
