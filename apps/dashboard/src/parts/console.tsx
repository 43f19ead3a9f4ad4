/** The serial console of a VM. Its bytes become text nodes, and nothing else. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ConsoleLink } from "../model/console-link.ts";
import { bytesOfKey } from "../model/keys.ts";
import { mayCall } from "../model/session.ts";
import { Terminal } from "../model/terminal.ts";
import { Screen } from "./screen.ts";

export function Console({ name }: { readonly name: string }) {
  const place = useRef<HTMLDivElement>(null);
  const link = useRef<ConsoleLink>(undefined);
  const [state, setState] = useState("");
  const mayType = mayCall("vm.consoleWrite");
  useEffect(() => {
    const { current } = place;
    if (current === null) return undefined;
    const screen = new Screen(current);
    let terminal = new Terminal();
    const opened = new ConsoleLink(name, {
      onBegin: () => {
        terminal = new Terminal();
        screen.show(terminal);
      },
      onBytes: (bytes) => {
        terminal.write(bytes);
        screen.show(terminal);
      },
      onState: setState,
    });
    link.current = opened;
    return () => {
      opened.close();
      screen.close();
    };
  }, [name]);
  return (
    <div class="console">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by keys */}
      <div ref={place} class="screen" role="log" aria-label={`Output of ${name}`} tabIndex={0} />
      {state !== "" && <p class="quiet">{state}</p>}
      {mayType && <Input name={name} send={(text) => link.current?.send(text) ?? false} />}
    </div>
  );
}

function Input({ name, send }: { readonly name: string; readonly send: (text: string) => boolean }) {
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    const bytes = bytesOfKey(event);
    if (bytes === undefined) return;
    event.preventDefault();
    send(bytes);
  };
  /** What was composed comes whole, with the event of its end. */
  const onInput = (event: InputEvent | CompositionEvent) => {
    if ("isComposing" in event && event.isComposing) return;
    const field = event.currentTarget as HTMLTextAreaElement;
    send(field.value.replaceAll("\n", "\r"));
    field.value = "";
  };
  return (
    <label class="typing">
      <span>Type here; Shift-Tab leaves</span>
      <textarea
        aria-label={`Input of ${name}`}
        rows={1}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        onKeyDown={onKeyDown}
        onInput={onInput}
        onCompositionEnd={onInput}
      />
    </label>
  );
}
