/* The multiboot header, the entry and the interrupt handlers of the demo guest. */
    .set magic, 0x1badb002
    .section .multiboot, "a"
    .align 4
    .long magic, 0, -magic

    .section .text.start, "ax"
    .globl start
start:
    cli
    cld
    movl $stack_top, %esp
    /* The descriptor table of the loader may be gone (multiboot 3.2), and interrupts reload CS from it. */
    lgdt gdt_pointer
    ljmp $0x08, $1f
1:  movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    call machine_start
    call guest_main
2:  cli
    hlt
    jmp 2b

    .globl on_timer
on_timer:
    incl ticks
    .globl on_serial
on_serial:
    pushl %eax
    movb $0x20, %al
    outb %al, $0x20
    popl %eax
    /* The 8259 answers with vector 7 for a request that went away before it was acknowledged; it wants no end of interrupt. */
    .globl on_spurious
on_spurious:
    iret

    .section .data
    .align 8
gdt:
    .quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
    .word 3 * 8 - 1
    .long gdt

    .section .bss
    .align 16
    .skip 8192
stack_top:
