/** What the shop sells. Prices are in cents; the order service is who knows them. */
export const CATALOGUE = [
  { sku: 'espresso-cup', price: 1_250 },
  { sku: 'coffee-beans-1kg', price: 2_190 },
  { sku: 'hand-grinder', price: 8_900 },
  { sku: 'kettle', price: 5_475 },
  { sku: 'scale', price: 3_999 },
  // Listed and never in stock: an order for it is refused by the inventory.
  { sku: 'moon-rock-mug', price: 99_900 },
] as const;

/** One position of an order. */
export interface Line {
  readonly sku: string;
  readonly quantity: number;
}

/** Cents as people write them: `1,234.50`. */
export function formatCents(cents: number): string {
  return (cents / 100).toLocaleString('en-US', { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}
