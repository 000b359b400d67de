package redis

import "bytes"

// slotCount is how many slots a Redis Cluster divides the keys into. All names of a target are in one slot.
const slotCount = 16384

// slotOf returns the slot of a name, by the part of it in the first pair of braces, as Redis does.
func slotOf(name []byte) uint16 {
	if from := bytes.IndexByte(name, '{') + 1; from > 0 {
		if length := bytes.IndexByte(name[from:], '}'); length > 0 {
			name = name[from : from+length]
		}
	}
	var sum uint16
	for _, c := range name {
		sum = sum<<8 ^ crcTable[byte(sum>>8)^c]
	}
	return sum % slotCount
}

// crcTable is that of CRC16 as XMODEM uses it: polynomial 0x1021, from 0, not reflected.
var crcTable = makeCRCTable(0x1021)

func makeCRCTable(polynomial uint16) (table [256]uint16) {
	for i := range table {
		sum := uint16(i) << 8
		for range 8 {
			carry := sum & 0x8000
			sum <<= 1
			if carry != 0 {
				sum ^= polynomial
			}
		}
		table[i] = sum
	}
	return table
}
