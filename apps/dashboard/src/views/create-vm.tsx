/** A new VM. */
import { write } from "../model/api.ts";
import { images } from "../model/cluster.ts";
import { tokenOf } from "../model/session.ts";
import { Action } from "../parts/action.tsx";

const memoryMiBDefault = 64;

export function CreateVm() {
  const names = (images.value?.items ?? []).filter(({ format }) => format !== "iso").map(({ name }) => name);
  const create = async (fields: FormData) => {
    const text = (name: string) => String(fields.get(name) ?? "").trim();
    const spec = { image: text("image"), vcpus: Number(text("vcpus")), memoryMiB: Number(text("memory")) };
    await write(tokenOf(), "vm.create", { name: text("name"), spec });
  };
  return (
    <Action call="vm.create" label="Create" title="Create a VM" done="The VM is created." run={create} isMain>
      <label>
        Name
        <input name="name" required maxLength={63} pattern="[a-z0-9]([a-z0-9\-]*[a-z0-9])?" autocomplete="off" />
      </label>
      <label>
        Image
        <select name="image" required>
          {names.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      <label>
        vCPUs
        <input name="vcpus" type="number" min={1} value={1} required />
      </label>
      <label>
        Memory in MiB
        <input name="memory" type="number" min={1} value={memoryMiBDefault} required />
      </label>
    </Action>
  );
}
