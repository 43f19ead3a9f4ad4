/** Which view is open: the part of the address behind `#`. */
import { signal } from "@preact/signals";

export const views = ["overview", "nodes", "vms", "images", "operations"] as const;
export type ViewName = (typeof views)[number];

export interface Place {
  readonly view: ViewName;
  /** The VM that is looked at, in the view of VMs. */
  readonly vm?: string;
}

export const place = signal<Place>(placeOf(location.hash));

export function followPlace(): void {
  addEventListener("hashchange", () => {
    place.value = placeOf(location.hash);
  });
}

export const hrefOf = (view: ViewName, vm?: string) =>
  vm === undefined ? `#/${view}` : `#/${view}/${encodeURIComponent(vm)}`;

function placeOf(hash: string): Place {
  const [view = "", item] = hash.replace(/^#\/?/, "").split("/");
  const known = views.find((name) => name === view) ?? "overview";
  const vm = known === "vms" && item !== undefined ? decoded(item) : "";
  return vm === "" ? { view: known } : { view: known, vm };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
