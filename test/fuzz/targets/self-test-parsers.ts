/** Counted as the modules of src/ are: without the coverage of its branches, the first fault would take years to find. */

export function parseAndThrow(bytes: Buffer): void {
  if (bytes[0] === 0x50) {
    if (bytes[1] === 0x51) {
      if (bytes.includes(0x21)) throw new TypeError('a fault of our own');
    }
  }
}

export function parseAndHang(bytes: Buffer): void {
  while (bytes[0] === 0x50);
}
