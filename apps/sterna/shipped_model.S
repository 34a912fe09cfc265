// A file of weights as read-only data. GGUF aligns its tensors to 32 bytes from the beginning.
    .section .rodata
    .balign 64
    .globl sterna_shipped_model
sterna_shipped_model:
    .incbin STERNA_SHIPPED_MODEL
    .globl sterna_shipped_model_end
sterna_shipped_model_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
