import { describe, expect, it } from "@jest/globals";
import { Command } from "commander";
import { z } from "zod";
import { addNow } from "../later-options.ts";
import { forwardText } from "./vm-network-options.ts";
import { addSpecOptions, optionsOf, specOf } from "./vm-spec-options.ts";

const parsed = (...args: string[]) => {
  const command = addSpecOptions(new Command());
  // They are made for a command that is used.
  expect(command.options).toEqual([]);
  addNow(command);
  return command.parse(args, { from: "user" }).opts();
};

describe("the options of a VM's specification", () => {
  it("give each field its kind, and leave what is not given to the schema", () => {
    expect(specOf(parsed("--image", "demo"))).toEqual({ image: "demo", memoryMiB: 256 });
    expect(
      specOf(
        parsed(
          "--image",
          "demo",
          "--memory",
          "1G",
          "--vcpus",
          "2",
          "--on-partition",
          "keep",
          "--restart-policy",
          "always",
        ),
      ),
    ).toEqual({ image: "demo", memoryMiB: 1024, vcpus: 2, onPartition: "keep", restartPolicy: "always" });
    expect(
      specOf(parsed("--image", "demo", "--boot-deadline", "90s", "--autostart-order", "3", "--autostart-delay", "2s")),
    ).toMatchObject({ bootDeadlineMs: 90_000, autostart: { order: 3, delayMs: 2_000 } });
    expect(specOf(parsed("--image", "demo", "--vcpus-max", "4", "--memory-max", "2G"))).toMatchObject({
      ...{ vcpusMax: 4, memoryMiBMax: 2_048 },
    });
    expect(() => specOf(parsed("--image", "demo", "--vcpus", "0"))).toThrow(
      "--vcpus must be a whole number of at least 1",
    );
  });

  it("take networks and forwarded ports, as many as there are", () => {
    const specWith = (...args: string[]) => specOf(parsed("--image", "demo", ...args));
    expect(specWith("--network", "user,address=10.0.2.20,mac=02:00:00:00:00:01").networks).toEqual([
      { network: "user", address: "10.0.2.20", mac: "02:00:00:00:00:01" },
    ]);
    expect(specWith("--network", "user,egress=10.0.0.0/8+192.0.2.1/32").networks).toEqual([
      { network: "user", egress: ["10.0.0.0/8", "192.0.2.1/32"] },
    ]);
    expect(specWith("--network", "user,egress=none").networks).toEqual([{ network: "user", egress: [] }]);
    expect(specWith("--network", "none").networks).toEqual([]);
    expect(specWith()).not.toHaveProperty("networks");
    const forwards = [
      "8080:80",
      "all:8443:443,from=10.0.0.0/8+192.0.2.1/32",
      "192.0.2.7:22022:22",
      "all:53:5353/udp,from=10.0.0.0/8",
    ];
    const spec = specWith(...forwards.flatMap((forward) => ["--forward", forward]));
    expect(spec.forwards).toEqual([
      { port: 8080, to: 80 },
      { port: 8443, to: 443, listen: "all", sources: ["10.0.0.0/8", "192.0.2.1/32"] },
      { port: 22022, to: 22, listen: "192.0.2.7" },
      { port: 53, to: 5353, listen: "all", sources: ["10.0.0.0/8"], protocol: "udp" },
    ]);
    expect(spec.forwards?.map(forwardText)).toEqual(forwards);
  });

  it.each([
    ["--network", "user,adress=10.0.2.20", "adress is unknown"],
    ["--forward", "8080", "[ADDRESS:]PORT"],
    ["--forward", "8080:http", "whole number"],
    ["--forward", "8080:80/sctp", "tcp or udp"],
    ["--forward", "8080:80,to=10.0.0.0/8", "from alone"],
  ])("refuse %s %s", (option, value, message) => {
    expect(() => specOf(parsed("--image", "demo", option, value))).toThrow(message);
  });

  it("take each disk as one option", () => {
    const disks = (...given: string[]) =>
      specOf(parsed("--image", "demo", ...given.flatMap((text) => ["--disk", text]))).disks;
    expect(disks("root,size=8G", "data,size=1T,ephemeral", "root,ephemeral")).toEqual([
      { name: "root", sizeGiB: 8 },
      { name: "data", sizeGiB: 1024, ephemeral: true },
      { name: "root", ephemeral: true },
    ]);
    expect(disks()).toBeUndefined();
    expect(disks("data,volume=db")).toEqual([{ name: "data", volume: "db" }]);
    expect(disks("data,volume=db,iops=500,rate=20M")).toEqual([
      { name: "data", volume: "db", iops: 500, bytesPerSecond: 20 * 1024 * 1024 },
    ]);
    for (const bad of [
      "data,size=512M",
      "data,size",
      "data,format=raw",
      "data,ephemeral=yes",
      "data,size=x",
      "data,iops=x",
      "data,rate=1B",
    ]) {
      expect(() => disks(bad)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });

  it("are made of a field that comes later by its name, its kind and its description", () => {
    const schema = z.object({
      cpuModel: z.string().meta({ since: 4, description: "model of the CPUs" }).exactOptional(),
      graceMs: z.int().min(0).describe("time to power off").exactOptional(),
      nested: z.boolean().describe("may run VMs itself").exactOptional(),
      window: z.object({ startMs: z.int().describe("when"), wide: z.boolean() }).exactOptional(),
      bus: z.enum(["isa", "pci"]).describe("where it stands").default("pci"),
    });
    expect(optionsOf(schema).map(({ option }) => `${option.flags} ${option.description}`)).toEqual([
      "--cpu-model <cpu-model> model of the CPUs",
      "--grace <time> time to power off",
      "--nested may run VMs itself",
      "--window-start <time> when",
      "--window-wide ",
      "--bus <isa|pci> where it stands (default pci)",
    ]);
    expect(optionsOf(schema).map(({ option }) => option.mandatory)).toEqual(Array(6).fill(false));
    expect(optionsOf(schema)[1]?.read("2s")).toBe(2_000);
  });

  it("do not pass over a field that no option can carry", () => {
    expect(() => optionsOf(z.object({ nics: z.array(z.string()) }))).toThrow(
      expect.objectContaining({ code: "INVARIANT", message: expect.stringContaining("nics") }),
    );
  });
});
