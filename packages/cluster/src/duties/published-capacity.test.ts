import type { NodeCapacity } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { publishedCapacity } from "./published-capacity.ts";

const kindsOnly: NodeCapacity = { vcpus: 2, memoryMiB: 512, drivers: ["fake"] };
const capacity: NodeCapacity = {
  ...kindsOnly,
  capabilities: [{ kind: "fake", imageFormats: ["disk"], vcpusMax: 4, memoryMiBMax: 256 }],
};

describe("publishedCapacity", () => {
  it("tells what the drivers can do when every member keeps it", () => {
    expect(publishedCapacity(capacity, 3)).toEqual(capacity);
  });

  it("tells only the kinds while one member would drop the rest", () => {
    expect(publishedCapacity(capacity, 2)).toEqual(kindsOnly);
    expect(capacity.capabilities).toHaveLength(1);
  });
});
