import { frameBytesMin } from "@blixard/protocol";
import { defaultConfinement } from "@blixard/vm-manager/confinement";
import { describe, expect, it } from "@jest/globals";
import { confinementOf, nodeSettings } from "./node-settings.ts";

describe("nodeSettings", () => {
  it("takes no limit of frames below the largest call", () => {
    const { schema } = nodeSettings.maxFrameBytes;
    expect(schema.safeParse(64 * 1024).success).toBe(false);
    expect(schema.safeParse(frameBytesMin - 1).success).toBe(false);
    expect(schema.safeParse(frameBytesMin).success).toBe(true);
  });
});

describe("nodeSettings of VM processes", () => {
  it("takes a range of user ids or off, and no user that exists everywhere or nowhere", () => {
    const { schema } = nodeSettings.vmUsers;
    for (const good of ["off", "300000-300999", "1-2147483646"]) expect(schema.safeParse(good).success).toBe(true);
    for (const bad of ["0-9", "9-1", "5", "1-2147483647", "x"]) expect(schema.safeParse(bad).success).toBe(false);
  });

  it("takes a control group by a path that cannot leave the root", () => {
    const { schema } = nodeSettings.vmControlGroup;
    for (const good of ["off", "/blixard", "/system.slice/vms"]) expect(schema.safeParse(good).success).toBe(true);
    for (const bad of ["", "/", "blixard", "/../x", "/a//b", "/a b"]) expect(schema.safeParse(bad).success).toBe(false);
  });

  it("says the same as the defaults of the VM manager", () => {
    const { vmUsers, vmControlGroup, vmOverheadMib } = nodeSettings;
    const config = {
      vmUsers: vmUsers.schema.parse(vmUsers.fallback),
      vmControlGroup: vmControlGroup.schema.parse(vmControlGroup.fallback),
      vmOverheadMib: vmOverheadMib.schema.parse(vmOverheadMib.fallback),
    };
    expect({ ...defaultConfinement, ...confinementOf(config) }).toEqual(defaultConfinement);
    expect(confinementOf({ ...config, vmUsers: "off" })).toMatchObject({ users: "off" });
  });
});
