/** The secrets that session tickets are made with. */

/**
 * The master secrets of session tickets, 32 bytes or more each. Tickets are issued by `current`; those issued by one of
 * `accepted` resume, too. An object never changes: other masters are another object.
 */
export type TicketMasters = { readonly current: Uint8Array; readonly accepted: readonly Uint8Array[] };
