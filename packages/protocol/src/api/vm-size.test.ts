import { issuesText } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { misfitOf, type VmSpec, vmSpecSchema } from "./vm-spec.ts";

const refusalOf = (more: Partial<VmSpec>) => {
  const spec = { vcpus: 1, memoryMiB: 256, image: "demo", restartPolicy: "never", ...more } as const;
  const parsed = vmSpecSchema.safeParse(spec);
  const said = parsed.success ? undefined : `spec.${issuesText(parsed.error.issues)}`;
  expect(misfitOf(spec)).toBe(said);
  return said;
};

describe("the size of a VM and the most that it may have", () => {
  it("fit each other, or what does not is named with its number", () => {
    expect(refusalOf({ vcpus: 2, vcpusMax: 2, memoryMiBMax: 512 })).toBeUndefined();
    expect(refusalOf({ vcpus: 3, vcpusMax: 2 })).toBe(
      "spec.vcpus: 3 are more than the 2 that the VM may have (vcpusMax)",
    );
    expect(refusalOf({ memoryMiB: 1_024, memoryMiBMax: 512 })).toBe(
      "spec.memoryMiB: 1024 MiB are more than the 512 MiB that the VM may have (memoryMiBMax)",
    );
    expect(refusalOf({ memoryMiBMax: 257 })).toContain("257 MiB is no multiple of 2 MiB");
    expect(refusalOf({ memoryMiB: 65, memoryMiBMax: 512 })).toContain("65 MiB is no multiple of 2 MiB");
  });
});
