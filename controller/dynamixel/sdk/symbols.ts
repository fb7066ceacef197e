/**
 * The functions of ROBOTIS' DynamixelSDK for C that are used, with their C types, as its headers
 * declare them: port_handler.h, packet_handler.h, group_sync_read.h, group_sync_write.h.
 *
 * Left out on purpose, after reading their source: `readTxRx` fills a buffer that it never sizes,
 * `readTx` frees the buffer that the next call reuses, `broadcastPing` waits 0.8 s and reads on behind a
 * broken answer, and `groupSyncReadGetData` gives a servo whatever answer came at its turn, because the
 * library does not compare IDs in a group.
 *
 * @module
 */

/** `int`. */
const INT = "i32";
/** Port number, protocol version, ID: how every packet function begins. */
const TO_SERVO = [INT, INT, "u8"] as const;

/** Symbols for `Deno.dlopen`. */
export const DXL_SYMBOLS = {
  portHandler: { parameters: ["buffer"], result: INT },
  packetHandler: { parameters: [], result: "void" },
  openPort: { parameters: [INT], result: "u8" },
  closePort: { parameters: [INT], result: "void" },
  clearPort: { parameters: [INT], result: "void" },
  setBaudRate: { parameters: [INT, INT], result: "u8" },
  readPort: { parameters: [INT, "buffer", INT], result: INT },
  writePort: { parameters: [INT, "buffer", INT], result: INT },
  setPacketTimeoutMSec: { parameters: [INT, "f64"], result: "void" },

  getLastTxRxResult: { parameters: [INT, INT], result: INT },
  getLastRxPacketError: { parameters: [INT, INT], result: "u8" },
  pingGetModelNum: { parameters: TO_SERVO, result: "u16" },
  // The C library of the system has a function of the same name, so macOS' build renames this one.
  reboot: {
    name: Deno.build.os === "darwin" ? "rebootDXL" : "reboot",
    parameters: TO_SERVO,
    result: "void",
  },
  read1ByteTxRx: { parameters: [...TO_SERVO, "u16"], result: "u8" },
  read2ByteTxRx: { parameters: [...TO_SERVO, "u16"], result: "u16" },
  read4ByteTxRx: { parameters: [...TO_SERVO, "u16"], result: "u32" },
  write1ByteTxRx: { parameters: [...TO_SERVO, "u16", "u8"], result: "void" },
  write2ByteTxRx: { parameters: [...TO_SERVO, "u16", "u16"], result: "void" },
  write4ByteTxRx: { parameters: [...TO_SERVO, "u16", "u32"], result: "void" },
  setDataWrite: { parameters: [INT, INT, "u16", "u16", "u32"], result: "void" },
  writeTxRx: { parameters: [...TO_SERVO, "u16", "u16"], result: "void" },

  groupSyncWrite: { parameters: [INT, INT, "u16", "u16"], result: INT },
  groupSyncWriteAddParam: { parameters: [INT, "u8", "u32", "u16"], result: "u8" },
  groupSyncWriteChangeParam: { parameters: [INT, "u8", "u32", "u16", "u16"], result: "u8" },
  groupSyncWriteClearParam: { parameters: [INT], result: "void" },
  groupSyncWriteTxPacket: { parameters: [INT], result: "void" },
  groupSyncRead: { parameters: [INT, INT, "u16", "u16"], result: INT },
  groupSyncReadAddParam: { parameters: [INT, "u8"], result: "u8" },
  groupSyncReadClearParam: { parameters: [INT], result: "void" },
  groupSyncReadTxPacket: { parameters: [INT], result: "void" },
  groupSyncReadRxPacket: { parameters: [INT], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The open library. */
export type DxlLibrary = Deno.DynamicLibrary<typeof DXL_SYMBOLS>;

/** What `getLastTxRxResult` answers: the macros COMM_… of packet_handler.h. */
export const COMM = {
  success: 0,
  portBusy: -1000,
  txFail: -1001,
  rxFail: -1002,
  txError: -2000,
  rxWaiting: -3000,
  rxTimeout: -3001,
  rxCorrupt: -3002,
  notAvailable: -9000,
} as const;

/** The protocol version that every call names. */
export const PROTOCOL = 2;
