/**
 * How to write unix sockets that penstock binds: as an address, or as a mapping with the permissions of the
 * file.
 */
import { z } from 'zod';
import { path } from './values.ts';

const accountWords = 'expected the name or the number of an account';
const modeWords = 'expected three octal digits in quotes, such as "0660"';

const account = z
  .union(
    [
      z.int().min(0),
      // Excludes characters that no account database has in a name, and names that a command would take for a
      // flag.
      z.string().regex(/^[^-:\s][^:\s]*$/, accountWords),
    ],
    accountWords,
  )
  .transform(String);
const titled = (name: string) => ({ title: 'name or number', samples: [name, 999] });

export const socketFile = z
  .strictObject({
    path: path
      .describe('The path of the socket, as in `unix:/path`.')
      .meta({ samples: ['/run/penstock/db.sock'] }),
    mode: z
      .string(modeWords)
      .regex(/^0?[0-7]{3}$/, modeWords)
      .meta({ title: 'octal digits', samples: ['0660', '0600'] })
      .default('0660')
      .describe('In octal, quoted; connecting needs write permission.'),
    owner: account
      .meta(titled('postgres'))
      .optional()
      .describe('A user; any but penstock’s own needs CAP_CHOWN. Absent: the user that penstock runs as.'),
    group: account
      .meta(titled('db'))
      .optional()
      .describe(
        'A group; any but those of penstock’s user needs CAP_CHOWN. Absent: the group that penstock runs as.',
      ),
  })
  .transform(({ path: file, ...rights }) => ({ address: `unix:${file}`, ...rights }));

/** A unix socket whose file has its own permissions. */
export type SocketFile = z.output<typeof socketFile>;

/** The addresses, and separately the permissions that some of them ask for. */
export function withSockets(places: readonly (string | SocketFile)[]) {
  return {
    bind: places.map((place) => (typeof place === 'string' ? place : place.address)),
    sockets: places.filter((place) => typeof place !== 'string'),
  };
}
