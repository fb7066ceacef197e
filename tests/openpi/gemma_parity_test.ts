import { testItems } from "./fidelity_item.ts";
import { GEMMA_ITEMS } from "./network_items.ts";

await testItems(GEMMA_ITEMS);
