/**
 * Key-encryption keys in hardware security modules, by PKCS#11 2.40. The module is called by the
 * foreign-function API, so that data keys go from secret memory to it and back and are never on the
 * Java heap: the JDK's SunPKCS11 leaves one there for each data key that it decrypts.
 */
@NullMarked
package io.filterd.keys.pkcs11;

import org.jspecify.annotations.NullMarked;
