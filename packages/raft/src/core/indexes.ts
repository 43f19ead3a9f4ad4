/**
 * Arithmetic on log indexes that keeps their brand.
 */
import { asLogIndex, type LogIndex } from "./types.ts";

export const noIndex: LogIndex = asLogIndex(0);

export const plus = (index: LogIndex, count: number): LogIndex => asLogIndex(index + count);

export const after = (index: LogIndex): LogIndex => asLogIndex(index + 1);

export const before = (index: LogIndex): LogIndex => asLogIndex(index - 1);

export const minIndex = (left: LogIndex, right: LogIndex): LogIndex => (left < right ? left : right);

export const maxIndex = (left: LogIndex, right: LogIndex): LogIndex => (left > right ? left : right);
