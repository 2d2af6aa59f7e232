/** How unix sockets that penstock binds may be written: as an address, or with the rights of their files. */
import { z } from 'zod';
import { path } from './values.ts';

const accountWords = 'expected the name or the number of an account';
const modeWords = 'expected three octal digits in quotes, such as "0660"';

const account = z
  .union(
    [
      z.int().min(0),
      // What no database of accounts has in a name; and nothing that a command takes for a flag.
      z.string().regex(/^[^-:\s][^:\s]*$/, accountWords),
    ],
    accountWords,
  )
  .transform(String);
const titled = (name: string) => ({ title: 'name or number', samples: [name, 999] });

export const socketFile = z
  .strictObject({
    path: path
      .describe('Where the socket is, as in `unix:/path`.')
      .meta({ samples: ['/run/penstock/db.sock'] }),
    mode: z
      .string(modeWords)
      .regex(/^0?[0-7]{3}$/, modeWords)
      .meta({ title: 'octal digits', samples: ['0660', '0600'] })
      .default('0660')
      .describe('In octal, quoted; to connect takes write permission.'),
    owner: account
      .meta(titled('postgres'))
      .optional()
      .describe('A user; other than penstock’s own takes CAP_CHOWN. Absent: the user that penstock runs as.'),
    group: account
      .meta(titled('db'))
      .optional()
      .describe(
        'A group; other than those of penstock’s user takes CAP_CHOWN. Absent: the group that penstock runs as.',
      ),
  })
  .transform(({ path: file, ...rights }) => ({ address: `unix:${file}`, ...rights }));

/** A unix socket whose file has rights of its own. */
export type SocketFile = z.output<typeof socketFile>;

/** Addresses, and beside them what was asked for of the files of some. */
export function withSockets(places: readonly (string | SocketFile)[]) {
  return {
    bind: places.map((place) => (typeof place === 'string' ? place : place.address)),
    sockets: places.filter((place) => typeof place !== 'string'),
  };
}
