/** The CD-ROM drives of a VM on the command line, and the order in which it boots. */
import { BlixardError } from "@blixard/common";
import type { VmCdrom, VmRecord } from "@blixard/protocol";
import type { ListOption } from "./list-option.ts";

const form = "DRIVE[,image=IMAGE]";

export const cdromOption: ListOption = {
  flag: "--cdrom <drive>",
  hint: `${form}; without an image it is empty; for example cd,image=debian-iso`,
  read: (given) => given.map(parseCdrom),
};

export const bootOrderOption: ListOption = {
  flag: "--boot-order <names>",
  hint: "names with commas between them, for example cd,root",
  read: (given) => given.flatMap((names) => names.split(",")),
};

/** `cd,image=debian-iso`. @throws INVALID_ARGUMENT */
function parseCdrom(text: string): VmCdrom {
  const [name = "", ...words] = text.split(",");
  let drive: VmCdrom = { name };
  for (const word of words) {
    const [key, value] = word.split("=", 2);
    if (key !== "image" || value === undefined) {
      throw new BlixardError("INVALID_ARGUMENT", `--cdrom: "${word}" is no part of ${form}`);
    }
    drive = { ...drive, image: value };
  }
  return drive;
}

/** A line for each drive of what is wanted, and one for the order. */
export function cdromLines({ spec: { cdroms = [], bootOrder } }: VmRecord): string {
  const drives = cdroms.map(({ name, image }) => `CD-ROM drive ${name}: ${image ?? "empty"}.\n`);
  const order = bootOrder === undefined ? "" : `It boots from ${bootOrder.join(", then ")}.\n`;
  return `${drives.join("")}${order}`;
}
