/** A button for something that changes the cluster: it asks first, and shows why when it is refused. */
import type { HttpMethodName } from "@blixard/protocol";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { type ApiError, shownError } from "../model/api-error.ts";
import { poller } from "../model/cluster.ts";
import { mayCall } from "../model/session.ts";
import { ErrorBox } from "./error-box.tsx";
import { tell } from "./notice.tsx";

interface Props {
  /** What is called: whoever may not is not offered it. */
  readonly call: HttpMethodName;
  readonly label: string;
  readonly title: string;
  /** What follows from it. */
  readonly text?: string;
  readonly isDangerous?: boolean;
  readonly isMain?: boolean;
  /** Fields of the form. */
  readonly children?: ComponentChildren;
  /** What is said when it was done. */
  readonly done: string;
  readonly run: (fields: FormData) => Promise<void>;
}

export function Action(props: Props) {
  const [isOpen, setOpen] = useState(false);
  if (!mayCall(props.call)) return null;
  const look = props.isDangerous ? "danger" : props.isMain ? "main" : "";
  return (
    <>
      <button type="button" class={look} onClick={() => setOpen(true)}>
        {props.label}
      </button>
      {isOpen && <Asking {...props} onClose={() => setOpen(false)} />}
    </>
  );
}

function Asking(props: Props & { readonly onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [error, setError] = useState<ApiError>();
  const [isBusy, setBusy] = useState(false);
  const title = useId();
  useEffect(() => dialog.current?.showModal(), []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(undefined);
    try {
      await props.run(new FormData(event.currentTarget as HTMLFormElement));
      tell(props.done);
      props.onClose();
      poller.wake();
    } catch (thrown) {
      setError(shownError(thrown));
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby={title} onClose={props.onClose}>
      <form onSubmit={submit}>
        <h2 id={title}>{props.title}</h2>
        {props.text !== undefined && <p>{props.text}</p>}
        {props.children}
        {error !== undefined && <ErrorBox error={error} />}
        <div class="buttons">
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class={props.isDangerous ? "danger" : "main"} disabled={isBusy}>
            {isBusy ? "…" : props.label}
          </button>
        </div>
      </form>
    </dialog>
  );
}
