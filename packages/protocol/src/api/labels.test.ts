import { describe, expect, it } from "@jest/globals";
import { limits } from "../limits.ts";
import { hasLabels, labelsSchema, labelsText, nodeLabelsSchema, selectorSchema, selects } from "./labels.ts";
import { vmSpecSchema } from "./vm-spec.ts";

describe("labels", () => {
  it.each([
    ["a name and a value", { app: "web" }, true],
    ["a prefix, dots, and no value", { "example.org/gpu": "" }, true],
    ["capitals in the name", { App: "web" }, false],
    ["no name", { "": "web" }, false],
    ["a name that objects have", { __proto__2: "x" }, false],
    ["a comma in the value", { app: "a,b" }, false],
    ["a newline in the value", { app: "a\n" }, false],
    ["a long value", { app: "a".repeat(limits.nameLengthMax + 1) }, false],
    ["too many", Object.fromEntries(Array.from({ length: limits.labelsMax + 1 }, (_, at) => [`l${at}`, ""])), false],
  ])("have %s: %j", (_, labels, fits) => {
    expect(labelsSchema.safeParse(labels).success).toBe(fits);
  });

  it("of nodes do not bear the word for the node itself", () => {
    expect(nodeLabelsSchema.safeParse({ node: "1" }).success).toBe(false);
  });

  it("are found by all that is asked for, and not in what every object has", () => {
    expect(hasLabels({ app: "web", tier: "front" }, { app: "web" })).toBe(true);
    expect(hasLabels({ app: "web" }, { app: "web", tier: "front" })).toBe(false);
    expect(hasLabels({}, { constructor: "" })).toBe(false);
    expect(selects("constructor", {})).toBe(false);
    expect(labelsText({ tier: "front", app: "web" })).toBe("app=web,tier=front");
  });
});

describe("a selector", () => {
  it.each(["zone", "!zone", "zone=a", "zone=", "zone!=a", "zone in (a)", "zone notin (a, b,c)", "example.org/x=1"])(
    "may be %s",
    (selector) => {
      expect(selectorSchema.safeParse(selector).success).toBe(true);
    },
  );

  it.each([
    "",
    "Zone",
    "zone==a",
    "zone in a",
    "zone in ()x",
    "zone=a,b",
    "zone = a",
    "!zone=a",
    "zone=a\n",
    "a".repeat(600),
  ])("is not %j", (selector) => {
    expect(selectorSchema.safeParse(selector).success).toBe(false);
  });
});

describe("the placement of a specification", () => {
  const issuesOf = (placement: unknown) =>
    vmSpecSchema.safeParse({ memoryMiB: 64, image: "demo", placement }).error?.issues.map(({ path }) => path.join("."));

  it.each([
    ["a selector that is none", { constraints: ["zone=="] }, "placement.constraints.0"],
    ["no labels of others", { affinity: [{ type: "near", vms: {} }] }, "placement.affinity.0.vms"],
    ["another kind of rule", { affinity: [{ type: "far", vms: { a: "b" } }] }, "placement.affinity.0.type"],
    ["a priority beyond all others", { priority: 101 }, "placement.priority"],
    ["half a priority", { priority: 0.5 }, "placement.priority"],
    ["a field that does not exist", { zone: "a" }, "placement"],
  ])("is refused with %s", (_, placement, path) => {
    expect(issuesOf(placement)).toEqual([path]);
  });
});
