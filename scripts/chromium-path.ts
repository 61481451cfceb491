/** Where Debian's Chromium is. */
import { existsSync } from 'node:fs';

const WITHOUT_WINDOW = '/usr/bin/chromium-headless-shell';

/** `CHROMIUM`, or the one without a window where it is installed: it takes less time. */
export function chromiumPath(): string {
  return (
    process.env['CHROMIUM'] ?? (existsSync(WITHOUT_WINDOW) ? WITHOUT_WINDOW : '/usr/bin/chromium')
  );
}
