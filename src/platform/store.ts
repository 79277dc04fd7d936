import type { ByteSource } from "../safetensors/types.ts";

/** A file that is being written from front to back. */
export interface FileWriter {
  /** Appends; the bytes may be reused afterwards. */
  write(bytes: Uint8Array): Promise<void>;
  /** Cuts everything away. */
  clear(): Promise<void>;
  /** Puts everything on the medium and closes. */
  close(): Promise<void>;
}

/** What a folder holds: a folder and a link have no bytes of their own. */
export interface StoreEntry {
  name: string;
  kind: "file" | "folder" | "link";
  bytes: number;
}

/**
 * A tree of files that outlives the program: a folder on disk, or the browser's private file system.
 * Paths are relative, with `/`; the caller guarantees that no part of them is `..` or a separator of this platform.
 */
export interface FileStore {
  /** Where it lies, for messages. */
  readonly root: string;
  /** What a user can do when it is full. */
  readonly remedy: string;
  /** Opens a file, following a link; `undefined` where there is none. */
  open(path: string): Promise<ByteSource | undefined>;
  readText(path: string): Promise<string | undefined>;
  /** The text is there as a whole or not at all, whatever happens meanwhile. */
  writeText(path: string, text: string): Promise<void>;
  /** A writer behind the file's first `keep` bytes; what lies behind them is cut off, a missing file is made. */
  append(path: string, keep: number): Promise<FileWriter>;
  /** Replaces `to`, in one step; durable when it returns. */
  rename(from: string, to: string): Promise<void>;
  /** Does nothing where there is no such file. */
  remove(path: string): Promise<void>;
  /** What lies in a folder, `""` for the store's own; nothing where there is no such folder. */
  list(folder: string): Promise<StoreEntry[]>;
  /** Removes a folder and all below it. Does nothing where there is none. */
  removeFolder(folder: string): Promise<void>;
  /** Makes `path` another name of the file `target`. */
  link(target: string, path: string): Promise<void>;
  /** Waits until nobody else, in no process or page, holds `path`; gives the function that releases it. */
  lock(path: string, signal?: AbortSignal): Promise<() => Promise<void>>;
  /** Whether anything can be stored: a cache may be another user's, or on a read-only disk. */
  isWritable(): Promise<boolean>;
  /** Bytes that can still be stored; `undefined` where nobody knows. */
  space(): Promise<number | undefined>;
}

/** What a store itself reads as a text, at most: a commit, a link, or what a server said about a file. */
export const MOST_TEXT = 2 ** 20; // bytes

/** A running SHA-256. */
export interface Sha256 {
  update(bytes: Uint8Array): void;
  /** 64 lower-case hexadecimal digits. */
  hex(): string;
}
