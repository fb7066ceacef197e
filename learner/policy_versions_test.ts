import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { PolicyVersions, readPublishedVersion, writePublishedVersion } from "./policy_versions.ts";

Deno.test("PolicyVersions number on from a checkpoint that nothing was published after", () => {
  for (const published of [null, 3, 10]) {
    const { policyVersion, versions } = new PolicyVersions().resume(10, published);
    assert.equal(policyVersion, 10);
    assert.deepEqual(versions.jumps, []);
    assert.equal(versions.isLost(11), false);
    assert.deepEqual([versions.age(8, 10), versions.oldest(10, 2)], [2, 8]);
  }
});

Deno.test("PolicyVersions lose what was published after the checkpoint, and count no age for it", () => {
  const { policyVersion, versions } = new PolicyVersions().resume(10, 12);
  assert.equal(policyVersion, 13);
  assert.deepEqual([10, 11, 12, 13].map((v) => versions.isLost(v)), [false, true, true, false]);
  // 13 is 10 again.
  assert.deepEqual([8, 10, 13].map((v) => versions.age(v, 13)), [2, 0, 0]);
  assert.deepEqual([0, 1, 2, 3].map((age) => versions.oldest(14, age)), [14, 10, 9, 8]);
  const again = versions.resume(14, 14).versions.resume(14, 20);
  assert.equal(again.policyVersion, 21);
  assert.deepEqual([11, 15, 20].map((v) => again.versions.isLost(v)), [true, true, true]);
  assert.deepEqual([10, 13, 14].map((v) => again.versions.age(v, 21)), [1, 1, 0]);
});

Deno.test("PolicyVersions.oldest() is the oldest version of that age or less", () => {
  const life = fc.record({ trained: fc.nat(3), lost: fc.nat(3) });
  fc.assert(
    fc.property(fc.array(life, { maxLength: 4 }), fc.nat(6), (lives, maxAge) => {
      let versions = new PolicyVersions();
      let newest = 20;
      for (const { trained, lost } of lives) {
        newest += trained;
        ({ policyVersion: newest, versions } = versions.resume(newest, newest + lost));
      }
      const oldest = versions.oldest(newest, maxAge);
      for (let version = 0; version <= newest; version++) {
        if (versions.isLost(version)) continue;
        assert.equal(version >= oldest, versions.age(version, newest) <= maxAge, `${version}`);
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("readPublishedVersion() gives what was written last, and refuses what is no version", async () => {
  const folder = await Deno.makeTempDir();
  try {
    assert.equal(await readPublishedVersion(folder), null);
    for (const version of [0, 12]) {
      await writePublishedVersion(folder, version);
      assert.equal(await readPublishedVersion(folder), version);
    }
    for (const text of ["", "-1", "1e3", "12 13", "9".repeat(30)]) {
      await Deno.writeTextFile(join(folder, "published_version"), text);
      await assert.rejects(
        readPublishedVersion(folder),
        /^RangeError: Cannot number policy versions: .*published_version holds ".*" where a policy version was/,
      );
    }
    const nowhere = join(folder, "missing");
    await assert.rejects(writePublishedVersion(nowhere, 1), Deno.errors.NotFound);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
