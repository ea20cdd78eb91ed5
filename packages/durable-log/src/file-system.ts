/** An open file, for reading and writing. Calls may overlap; those that do have no order among each other. */
export interface FileHandle {
  /** Bytes in the file. */
  size(): Promise<number>;
  /**
   * Fills `into` from `position` on. Resolves to the number of bytes read, which is less than asked only where the
   * file ends.
   */
  read(into: Uint8Array, position: number): Promise<number>;
  /**
   * Writes all of `bytes` at `position`, and extends the file where it ends before. Later reads see them; a crash of
   * the process does not lose them, one of the machine may lose or tear them until {@link FileHandle.sync} resolves.
   * `bytes` stays untouched by the caller until this settles.
   */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** Makes what was written before durable, and the size of the file with it (`fdatasync`). Not the file's name. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** A directory that nobody else has. The end of the process, however it ends, releases it. */
export interface DirectoryLock {
  release(): Promise<void>;
}

/**
 * What the file log asks of a file system: small enough that a simulated disk can stand in for the real one.
 *
 * Paths are joined by `/`. Errors are those of `node:fs`, with a `code` such as `ENOENT` or `ENOSPC`. Names that were
 * created, renamed or removed are durable after {@link FileSystem.syncDirectory} of the directory that holds them.
 */
export interface FileSystem {
  /** Creates a directory and those above it. Does nothing where it exists. */
  mkdir(path: string): Promise<void>;
  /** Names in a directory, in any order. */
  readdir(path: string): Promise<string[]>;
  /**
   * Opens a file. `must-exist` fails with `ENOENT` where there is none; `create` makes an empty one, or empties the
   * one that is there.
   */
  open(path: string, mode: 'must-exist' | 'create'): Promise<FileHandle>;
  /** Replaces `to` by `from`, atomically. */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file's name. Handles that are open on it stay good. */
  unlink(path: string): Promise<void>;
  /** Makes the names in a directory durable (`fsync` of the directory). */
  syncDirectory(path: string): Promise<void>;
  /**
   * Takes an existing directory for this holder alone. Rejects with `StorageLockedError` where another one has it, in
   * this process or in another. Names in the directory that begin with `lock` belong to the lock.
   */
  lock(directory: string): Promise<DirectoryLock>;
}
