/**
 * What clients and servers can do: 32 bits that the server's greeting offers, and of which the client's
 * response takes some.
 */
export const can = {
  /** Not set by MariaDB's servers, which use the reserved bytes for capabilities of their own. */
  longPassword: 1 << 0,
  foundRows: 1 << 1,
  longFlag: 1 << 2,
  connectWithDatabase: 1 << 3,
  noSchema: 1 << 4,
  compress: 1 << 5,
  odbc: 1 << 6,
  localFiles: 1 << 7,
  ignoreSpace: 1 << 8,
  protocol41: 1 << 9,
  interactive: 1 << 10,
  ssl: 1 << 11,
  ignoreSigpipe: 1 << 12,
  transactions: 1 << 13,
  reserved: 1 << 14,
  secureConnection: 1 << 15,
  multiStatements: 1 << 16,
  multiResults: 1 << 17,
  psMultiResults: 1 << 18,
  pluginAuth: 1 << 19,
  attributes: 1 << 20,
  longAuthData: 1 << 21,
  expiredPasswords: 1 << 22,
  sessionTrack: 1 << 23,
  deprecateEof: 1 << 24,
  /** Not of MariaDB. A login with it ends in a level of compression. */
  zstd: 1 << 26,
} as const;

/** What MySQL since 5.7 and MariaDB since 10.2 have in common, and all that we know how to carry. */
export const common: number = Object.values(can).reduce((all, bit) => all | bit, 0);

/** Without these a client cannot be asked again in the server's name. */
export const needed: number = can.protocol41 | can.secureConnection | can.pluginAuth;

/** Those that change what is written on the wire: a client that uses one needs a server that has it. */
export const onTheWire: number =
  needed | can.compress | can.zstd | can.sessionTrack | can.deprecateEof | can.longAuthData | can.attributes;
