/**
 * The embedded database: `node:sqlite` opened, migrated and shown to kysely, whose SQLite dialect
 * was made for another package but asks only for the few methods below.
 *
 * @module
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { MIGRATIONS } from "./schema.ts";

/** A prepared statement as kysely wants it. */
export interface KyselyStatement {
  /** Whether it returns rows. */
  readonly reader: boolean;
  /** Run it and return all rows. */
  all(parameters: readonly unknown[]): unknown[];
  /** Run it and say what changed. */
  run(
    parameters: readonly unknown[],
  ): { changes: number | bigint; lastInsertRowid: number | bigint };
  /** Run it and return row after row. */
  iterate(parameters: readonly unknown[]): IterableIterator<unknown>;
}

/** A database as kysely wants it. */
export interface KyselyDatabase {
  /** Close the database. */
  close(): void;
  /** Prepare a statement. */
  prepare(sql: string): KyselyStatement;
}

/**
 * Open a database, create it if need be, and bring its tables up to date.
 * @param path A file, whose folder must exist, or `:memory:`.
 * @returns The database for kysely's SqliteDialect, which closes it.
 * @throws {Error} If the file cannot be opened, is no database or was written by a newer release.
 */
export function openSqlite(path: string): KyselyDatabase {
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(path);
    // WAL keeps every committed row when the process dies; NORMAL gives up only the last
    // transactions on power loss, never the file. https://sqlite.org/wal.html
    database.exec(
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000; " +
        "PRAGMA foreign_keys = ON",
    );
    migrate(database);
  } catch (error) {
    database?.close();
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot open the database ${path}: ${reason}`, { cause: error });
  }
  const opened = database;
  return { close: () => opened.close(), prepare: (sql) => adapt(opened.prepare(sql)) };
}

function migrate(database: DatabaseSync): void {
  const row = database.prepare("PRAGMA user_version").get();
  const version = Number(row?.user_version);
  if (version > MIGRATIONS.length) {
    throw new Error(
      `it has schema version ${version}, this release knows up to ${MIGRATIONS.length}; run the ` +
        "newer release or choose another file",
    );
  }
  for (let next = version; next < MIGRATIONS.length; next++) {
    // One transaction a step: a crash leaves the version before or after it.
    database.exec("BEGIN IMMEDIATE");
    try {
      database.exec(MIGRATIONS[next]);
      database.exec(`PRAGMA user_version = ${next + 1}`);
      database.exec("COMMIT");
    } catch (error) {
      database.exec("ROLLBACK");
      throw error;
    }
  }
}

function adapt(statement: StatementSync): KyselyStatement {
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => statement.all(...parameters.map(toSql)),
    run: (parameters) => statement.run(...parameters.map(toSql)),
    iterate: (parameters) => statement.iterate(...parameters.map(toSql)),
  };
}

function toSql(value: unknown): SQLInputValue {
  if (
    value === null || typeof value === "string" || typeof value === "number" ||
    typeof value === "bigint" || value instanceof Uint8Array
  ) return value;
  throw new TypeError(`Cannot store a value of type ${typeof value} in SQLite`);
}
