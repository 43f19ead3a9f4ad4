import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "@jest/globals";
import { newInstanceRecord } from "./instance-record.ts";
import { InstanceStore } from "./instance-store.ts";
import { describeWith } from "./testing/required-component.ts";
import { SmallFileSystem, smallFileSystemNeeds } from "./testing/small-file-system.ts";

const vmId = "11111111-2222-4333-8444-555555555555";

describeWith(describe, smallFileSystemNeeds)("InstanceStore on a file system that is full", () => {
  it("writes the end of a VM into the room that was taken before, and nothing of one that took none", async () => {
    await using small = SmallFileSystem.mount(4);
    const store = new InstanceStore(join(small.path, "instances"), small.path);
    const record = newInstanceRecord({ vmId, name: "web", desired: "running", fencingEpoch: 1 }, small.path);
    await store.save(record);
    await small.fill();
    await expect(store.save({ ...record, fencingEpoch: 2 })).rejects.toMatchObject({ code: "ENOSPC" });
    const other = new InstanceStore(join(small.path, "instances"), small.path);
    expect(await other.find(vmId)).toMatchObject({ fencingEpoch: 1 });
    small.resize(8);
    await store.keepSpare(vmId);
    await small.fill();
    await store.save({ ...record, fencingEpoch: 3 });
    await store.save({ ...record, fencingEpoch: 4 });
    expect(JSON.parse(await readFile(join(store.directoryOf(vmId), "instance.json"), "utf8"))).toMatchObject({
      fencingEpoch: 4,
    });
  });
});
