import { testItems } from "./fidelity_item.ts";
import { SIGLIP_ITEMS } from "./network_items.ts";

await testItems(SIGLIP_ITEMS);
