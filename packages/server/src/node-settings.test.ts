import { frameBytesMin } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { nodeSettings } from "./node-settings.ts";

describe("nodeSettings", () => {
  it("takes no limit of frames below the largest call", () => {
    const { schema } = nodeSettings.maxFrameBytes;
    expect(schema.safeParse(64 * 1024).success).toBe(false);
    expect(schema.safeParse(frameBytesMin - 1).success).toBe(false);
    expect(schema.safeParse(frameBytesMin).success).toBe(true);
  });
});
