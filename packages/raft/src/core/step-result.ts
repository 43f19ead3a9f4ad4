/** Whether a message was taken, or carried a proposal that had to be dropped. Errors are made at the border only. */
export type StepResult = "stepped" | "dropped";
